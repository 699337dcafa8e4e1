import { mkdirSync } from "node:fs";
import { tempDir } from "./temp-dir.ts";

const overlaid = ["/etc", "/usr/local", "/var/log", "/var/lib"];

/** A node of the test's own, as far as files go: what is installed there meets nothing of the machine's. */
export interface OwnNode extends Disposable {
  readonly dir: { readonly path: string };
  /** For a process that has a mount namespace of its own (own-network.ts). */
  enter(): void;
}

export function ownNode(): OwnNode {
  const dir = tempDir("/var/tmp");
  const mounted: string[] = [];
  const mount = (place: string, ...options: readonly string[]) => {
    mkdirSync(place, { recursive: true });
    run("mount", ...options, place);
    mounted.push(place);
  };
  return {
    dir,
    enter() {
      for (const place of overlaid) {
        const own = `${dir.path}/${place.replaceAll("/", "_")}`;
        mkdirSync(`${own}/upper`, { recursive: true });
        mkdirSync(`${own}/work`);
        const layers = `lowerdir=${place},upperdir=${own}/upper,workdir=${own}/work`;
        mount(place, "-t", "overlay", "overlay", "-o", layers);
      }
      mount("/run", "-t", "tmpfs", "tmpfs");
      // Overlay cannot be the upper layer of another: crib's own need a directory below.
      mkdirSync(`${dir.path}/data`);
      mount("/var/lib/crib", "--bind", `${dir.path}/data`);
    },
    [Symbol.dispose]() {
      for (const place of mounted.toReversed()) run("umount", "-l", place);
      dir[Symbol.dispose]();
    },
  };
}

function run(...argv: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr.toString()}`);
}
