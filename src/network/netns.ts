import { existsSync, lstatSync, mkdirSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { type Context, detached } from "../lib/context.ts";
import { AppError, type ErrorKind, invalidArgument } from "../lib/errors.ts";
import { asObject, asString, parseJson } from "../lib/json.ts";
import { CommandError, runCommand } from "../os/command.ts";
import { isErrno } from "../os/errno-error.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../os/mount.ts";
import { childEnv, roleArgv } from "../os/role.ts";
import { type NamespaceKind, namespaceKinds, parseSysctls } from "./sysctl.ts";
import type { UserNamespaceRequest } from "./user-namespace.ts";

/** Namespaces to make for one sandbox. Those not in `kinds` are the node's. */
export interface NamespaceRequest {
  /** Made if absent; belongs to this sandbox alone. */
  readonly dir: string;
  readonly kinds: readonly NamespaceKind[];
  /** For a new UTS namespace; absent keeps the node's name. */
  readonly hostname?: string;
  readonly sysctls: Readonly<Record<string, string>>;
  /** A new user namespace, pinned at `<dir>/user`; the others then belong to it. */
  readonly userNamespace?: UserNamespaceRequest;
}

const roleTimeoutMs = 20_000;

/** Where a pinned namespace is: what goes into `linux.namespaces[].path` and CNI_NETNS. */
export function namespacePath(dir: string, kind: NamespaceKind | "user"): string {
  return `${dir}/${kind}`;
}

/**
 * Makes the namespaces, sets them up (`lo` up, host name, sysctls) and pins each at `<dir>/<kind>` by a bind mount, so that they live
 * without any process. All or nothing: after a failure nothing is pinned.
 * The work is done by a child (role `namespaces`), because unshare(2) changes the thread that calls it.
 */
export async function pinNamespaces(
  ctx: Context,
  request: NamespaceRequest,
  role: readonly string[] = roleArgv("namespaces"),
): Promise<void> {
  const sysctls = parseSysctls(request.sysctls, request.kinds);
  const pinned = [...request.kinds, ...(request.userNamespace ? (["user"] as const) : [])];
  if (pinned.length === 0) return;
  if (Buffer.byteLength(request.hostname ?? "") > 64) {
    throw invalidArgument("host name over 64 bytes");
  }
  for (const kind of pinned) {
    if (existsSync(namespacePath(request.dir, kind))) {
      throw new AppError(`${namespacePath(request.dir, kind)} is pinned already`, {
        kind: "already-exists",
      });
    }
  }
  await using undo = new AsyncDisposableStack();
  mkdirSync(request.dir, { recursive: true, mode: 0o700 });
  undo.defer(() => unpinNamespaces(detached(ctx), request.dir));
  const result = await runCommand(ctx, role, {
    env: childEnv,
    stdin: JSON.stringify({ ...request, sysctls }),
    timeoutMs: roleTimeoutMs,
  });
  if (result.exitCode !== 0) {
    throw roleFailure(result.stdout) ?? new CommandError(role, result.exitCode, result.stderr);
  }
  undo.move();
}

/** The child says what failed as `{kind, message}`. */
function roleFailure(stdout: Buffer): AppError | undefined {
  try {
    const failure = asObject(parseJson(stdout, "namespaces", { maxBytes: 65536 }), "failure");
    return new AppError(`make namespaces: ${asString(failure["message"], "message")}`, {
      kind: asString(failure["kind"], "kind") as ErrorKind,
    });
  } catch {
    return undefined;
  }
}

/**
 * Idempotent: unmounts whatever is pinned below `dir` and removes it. The namespaces end with the last process in them.
 * Also right after a crash in the middle of pinning: a file without a mount is only removed.
 */
export async function unpinNamespaces(ctx: Context, dir: string): Promise<void> {
  ctx.signal.throwIfAborted();
  for (const kind of [...namespaceKinds, "user"] as const) {
    const path = namespacePath(dir, kind);
    while (unmountOnce(path)) {
      // An attempt that was cut off and repeated may have stacked two mounts.
    }
    ignoreAbsent(() => unlinkSync(path));
  }
  // The caller may keep other files of the sandbox in there; then they go with the caller's directory.
  ignoreAbsent(() => {
    if (readdirSync(dir).length === 0) rmdirSync(dir);
  });
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
