import { readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";
import { unescapeMountPath } from "../../os/mount/mount-points.ts";

/** The node under examination, read only. Tests show a tree of their own. */
export interface Node {
  readonly kernel: string;
  readonly now: Date;
  /** The file's text; undefined where there is none or it cannot be read. */
  read(path: string): string | undefined;
  list(path: string): readonly string[];
  freeBytes(path: string): number | undefined;
  /** Type and permission bits; undefined where there is nothing. */
  mode(path: string): number | undefined;
}

const maxConfigBytes = 4 << 20;

/** `/proc`, `/sys` and the rest of this machine. */
export function thisNode(now: Date): Node {
  return {
    kernel: release(),
    now,
    read: (path) => attempt(() => readText(path)),
    list: (path) => attempt(() => readdirSync(path)) ?? [],
    mode: (path) => attempt(() => statSync(path).mode),
    freeBytes: (path) =>
      attempt(() => {
        const { bavail, bsize } = statfsSync(path);
        return bavail * bsize;
      }),
  };
}

function readText(path: string): string {
  const bytes = readFileSync(path);
  if (!path.endsWith(".gz")) return bytes.toString();
  return gunzipSync(bytes, { maxOutputLength: maxConfigBytes }).toString();
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

export interface MountPoint {
  readonly path: string;
  readonly type: string;
  readonly options: readonly string[];
}

export function listMounts(node: Node): readonly MountPoint[] {
  const lines = (node.read("/proc/self/mounts") ?? "").split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const [, path = "", type = "", options = ""] = line.split(" ");
    return { path: unescapeMountPath(path), type, options: options.split(",") };
  });
}

/** The mount that `path` is on, whether or not `path` exists yet. */
export function mountOf(node: Node, path: string): MountPoint | undefined {
  return listMounts(node)
    .filter((mount) => `${path}/`.startsWith(mount.path === "/" ? "/" : `${mount.path}/`))
    .reduce<MountPoint | undefined>(
      // Of two mounts on one place the later one is seen.
      (best, mount) => (mount.path.length >= (best?.path.length ?? 0) ? mount : best),
      undefined,
    );
}
