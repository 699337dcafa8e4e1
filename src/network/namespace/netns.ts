import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  statfsSync,
  unlinkSync,
} from "node:fs";
import { type Context, detached } from "../../lib/context.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import type { PodIds } from "../../oci/pod-ids.ts";
import { isErrno } from "../../os/errno-error.ts";
import { MNT_DETACH, MS_BIND, mount, UMOUNT_NOFOLLOW, umount } from "../../os/mount/mount.ts";
import type { OwnProgram } from "../../os/process/command.ts";
import { makeNamespaces, writeInNetns } from "./make-namespaces.ts";
import { type NamespaceKind, namespaceKinds, parseSysctls } from "./sysctl.ts";

/** Namespaces to make for one sandbox. Those not in `kinds` are the node's. */
export interface NamespaceRequest {
  /** Made if absent; belongs to this sandbox alone. */
  readonly dir: string;
  readonly kinds: readonly NamespaceKind[];
  /** For a new UTS namespace; absent keeps the node's name. */
  readonly hostname?: string;
  readonly sysctls: Readonly<Record<string, string>>;
  /** Where a new network namespace is pinned; `<dir>/net` by default. */
  readonly netPath?: string;
  /** A new user namespace, pinned at `<dir>/user`; the others then belong to it. */
  readonly userNamespace?: { readonly ids: PodIds };
}

/** Where a pinned namespace is, unless a place of its own was given: what goes into `linux.namespaces[].path`. */
export function namespacePath(dir: string, kind: NamespaceKind | "user"): string {
  return `${dir}/${kind}`;
}

/**
 * Makes the namespaces, sets them up (`lo` up, host name, sysctls) and pins each at `<dir>/<kind>` by a bind mount, so that they live
 * without any process. All or nothing: after a failure nothing is pinned. `program` is the static program that does it.
 */
export async function pinNamespaces(
  ctx: Context,
  program: OwnProgram,
  request: NamespaceRequest,
): Promise<void> {
  const { dir, kinds, hostname = "", userNamespace } = request;
  const sysctls = parseSysctls(request.sysctls, kinds).filter(({ ofInterface }) => !ofInterface);
  const pins = [...kinds, ...(userNamespace ? (["user"] as const) : [])].map((kind) => ({
    kind,
    path: (kind === "net" ? request.netPath : undefined) ?? namespacePath(dir, kind),
  }));
  if (pins.length === 0) return;
  if (Buffer.byteLength(hostname) > 64) throw invalidArgument("host name over 64 bytes");
  for (const { path } of pins) {
    if (existsSync(path)) {
      throw new AppError(`${path} is pinned already`, { kind: "already-exists" });
    }
  }
  await using rollback = new AsyncDisposableStack();
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  rollback.defer(() => unpinNamespaces(detached(ctx), dir, request.netPath));
  for (const { path } of pins) closeSync(openSync(path, "wx", 0o400));
  await makeNamespaces(ctx, program, { kinds, hostname, sysctls, ids: userNamespace?.ids, pins });
  rollback.move();
}

/** Pins a namespace that is pinned elsewhere a second time, for `unpin` to undo: it lives as long as either pin does. */
export function pinAgain(source: string, path: string): void {
  if (existsSync(path)) throw new AppError(`${path} is pinned already`, { kind: "already-exists" });
  closeSync(openSync(path, "wx", 0o400));
  try {
    mount(source, path, "", MS_BIND, "");
  } catch (err) {
    unlinkSync(path);
    throw err;
  }
}

/** Sets the sysctls that belong to interfaces, which are there once the network has been attached. */
export async function setInterfaceSysctls(
  ctx: Context,
  program: OwnProgram,
  netnsPath: string,
  sysctls: Readonly<Record<string, string>>,
): Promise<void> {
  const own = parseSysctls(sysctls, namespaceKinds).filter(({ ofInterface }) => ofInterface);
  if (own.length > 0) await writeInNetns(ctx, program, netnsPath, own);
}

/**
 * Idempotent: unmounts whatever is pinned below `dir`, and at `netPath`, and removes it. The namespaces end with the last process in them.
 * Also right after a crash in the middle of pinning: a file without a mount is only removed.
 */
export async function unpinNamespaces(ctx: Context, dir: string, netPath?: string): Promise<void> {
  ctx.signal.throwIfAborted();
  const paths = [...namespaceKinds, "user" as const].map((kind) => namespacePath(dir, kind));
  for (const path of netPath === undefined ? paths : [...paths, netPath]) unpin(path);
  // The caller may keep other files of the sandbox in there; then they go with the caller's directory.
  ignoreAbsent(() => {
    if (readdirSync(dir).length === 0) rmdirSync(dir);
  });
}

/** Idempotent, for one. */
export function unpin(path: string): void {
  while (unmountOnce(path)) {
    // An attempt that was cut off and repeated may have stacked two mounts.
  }
  ignoreAbsent(() => unlinkSync(path));
}

/** Whether there was a mount. */
function unmountOnce(path: string): boolean {
  try {
    if (lstatSync(path).isSymbolicLink()) return false;
    umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    return true;
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "EINVAL")) return false;
    throw new Error(`unpin ${path}`, { cause: err });
  }
}

function ignoreAbsent(remove: () => void): void {
  try {
    remove();
  } catch (err) {
    if (!isErrno(err, "ENOENT")) throw err;
  }
}

const NSFS_MAGIC = 0x6e73_6673;

/** Whether a namespace is pinned there: after a crash it may be an empty file, after a reboot nothing. */
export function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}
