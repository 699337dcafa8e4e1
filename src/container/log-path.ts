import { lstatSync, unlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import { invalidArgument } from "../lib/errors.ts";
import { isErrno } from "../os/errno-error.ts";
import { openFileInRoot, openPathInRoot } from "../os/file/open-in-root.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";

const maxPath = 4095;

/**
 * The log file that the client asked for: `log_path` below the sandbox's `log_directory` (CRI ContainerConfig).
 * Empty when either is empty: the output is then thrown away.
 */
export function logPathOf(logDirectory: string, logPath: string): string {
  if (logDirectory === "" || logPath === "") return "";
  if (!logDirectory.startsWith("/")) throw invalidArgument("log_directory is not absolute");
  const path = `${logDirectory.replace(/\/+$/, "")}/${logPath}`;
  const parts = path.split("/");
  if (logPath.startsWith("/") || parts.includes("..") || path.includes("\0")) {
    throw invalidArgument(
      `log_path leaves the log directory: ${JSON.stringify(logPath.slice(0, 100))}`,
    );
  }
  if (Buffer.byteLength(path) > maxPath)
    throw invalidArgument(`log path is longer than ${maxPath} bytes`);
  return path;
}

/** The sandbox's `log_directory` again, from what `logPathOf` has returned. */
export function podLogDirectoryOf(path: string, logPath: string): string | undefined {
  return path === "" ? undefined : path.slice(0, -logPath.length).replace(/\/+$/, "") || undefined;
}

/**
 * Opens a container's log, to be read through `/proc/self/fd`; `undefined` where there is no such file. Inside of the
 * pod's log directory no link leads out of it: a container that has it mounted could make one to any file of the node.
 */
export function findLog(path: string, logPath: string): OwnedFd | undefined {
  const podDirectory = podLogDirectoryOf(path, logPath);
  return podDirectory === undefined ? undefined : openFileInRoot(podDirectory, logPath);
}

/**
 * Removes the log of a container that has never been, if nothing is in it. A kubelet counts restarts by the log files
 * that it finds. Idempotent.
 */
export function removeEmptyLog(log: {
  readonly path: string;
  readonly podDirectory: string;
}): void {
  try {
    const name = log.path.slice(log.podDirectory.length + 1);
    using directory = openPathInRoot(log.podDirectory, dirname(name));
    const path = `/proc/self/fd/${directory.fd}/${basename(name)}`;
    const stat = lstatSync(path);
    if (stat.isFile() && stat.size === 0) unlinkSync(path);
  } catch (err) {
    const none = ["ENOENT", "ENOTDIR", "ELOOP"] as const;
    if (!none.some((code) => isErrno(err, code))) throw err;
  }
}
