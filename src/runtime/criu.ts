import { constants, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { AppError, failedPrecondition } from "../lib/errors.ts";
import { ifThere, isErrno } from "../os/errno-error.ts";
import { OwnedFd } from "../os/file/owned-fd.ts";
import { childEnv } from "../os/process/role.ts";
import { oneLine } from "./runtime-log.ts";

/** Annotation that names to runc and crun a configuration of CRIU for one container. */
export const criuConfigAnnotation = "org.criu.config";

/** Throws `failed-precondition` where the node has no CRIU. It is the administrator's: nothing of it is embedded. */
export function requireCriu(): void {
  if (Bun.which("criu", { PATH: childEnv["PATH"] ?? "" }) !== null) return;
  throw failedPrecondition("CRIU is not installed on this node");
}

/**
 * Declares to CRIU which files are the node's: the pipes of the container's stdio, which the container cannot see by their
 * paths. Whoever restores it gives other ones.
 */
export function writeCriuConfig(path: string, pipes: StdioPaths): StdioNames {
  const names: { [name in StdioName]?: string } = {};
  for (const name of stdioNames) {
    const found = identityOf(pipes[name]);
    if (found !== undefined) names[name] = `file[${found}]`;
  }
  const lines = Object.values(names).map((name) => `external ${name}\n`);
  writeFileSync(path, lines.join(""), { mode: 0o600 });
  return names;
}

/**
 * Declares to CRIU that those files are its own stdio now, and that connections have no other end any more: the container has
 * another address.
 */
export function writeRestoreConfig(path: string, names: StdioNames): void {
  const lines = stdioNames.flatMap((name, fd) => {
    const key = names[name];
    return key === undefined ? [] : [`inherit-fd fd[${fd}]:${key}\n`];
  });
  writeFileSync(path, ["tcp-close\n", ...lines].join(""), { mode: 0o600 });
}

const stdioNames = ["stdin", "stdout", "stderr"] as const;
type StdioName = (typeof stdioNames)[number];
type StdioPaths = Readonly<Record<StdioName, string>>;
/** What CRIU calls a container's pipes, those that it has. */
export type StdioNames = Readonly<Partial<Record<StdioName, string>>>;

/** Mount and inode in hexadecimal, as CRIU names a file; undefined when it is not there. */
function identityOf(path: string): string | undefined {
  const O_PATH = 0x20_0000;
  try {
    using file = new OwnedFd(openSync(path, O_PATH | constants.O_NOFOLLOW));
    const mount = /^mnt_id:\s*(\d+)$/m.exec(
      readFileSync(`/proc/self/fdinfo/${file.fd}`, "latin1"),
    )?.[1];
    const { ino } = statSync(path, { bigint: true });
    return `${Number(mount).toString(16)}:${ino.toString(16)}`;
  } catch (err) {
    if (isErrno(err, "ENOENT")) return undefined;
    throw err;
  }
}

const maxReasons = 3;

/** Why CRIU could not: the first errors of its log, where it has written one. */
export function criuFailure(
  workDir: string,
  cause: unknown,
  step: "dump" | "restore" = "dump",
): AppError {
  const reasons = (ifThere(() => readFileSync(`${workDir}/${step}.log`, "utf8")) ?? "")
    .split("\n")
    // It goes on without the limit that it asks for first.
    .filter((line) => /\bError \(/.test(line) && !line.includes("RLIMIT_NOFILE for self"))
    .slice(0, maxReasons)
    .map((line) => oneLine(line.replace(/^\([0-9.]+\)\s*/, "")));
  const why = reasons.length > 0 ? reasons.join("; ") : undefined;
  const failed = `CRIU cannot ${step} it`;
  const message = why === undefined ? failed : `${failed}: ${why}`;
  return new AppError(message, {
    kind: "failed-precondition",
    ...(why === undefined ? { cause } : {}),
  });
}
