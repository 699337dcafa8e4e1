import { closeSync, constants, openSync, readFileSync, readSync } from "node:fs";
import { basename, dirname } from "node:path";
import { isErrno } from "../os/errno-error.ts";

/**
 * Whether the kernel has killed a process of a cgroup for lack of memory. Its own count says so while the cgroup is there:
 * `oom_kill` of memory.events (v2) or memory.oom_control (v1). systemd removes the cgroup of a scope together with the
 * last process, often before anybody has read that file; then the kernel's log is asked, which names the cgroup of every
 * process that it killed. `files` are those of the cgroup, whose directory has a name that no other container ever has.
 */
export function readOomKilled(files: readonly string[], kernelLog = "/dev/kmsg"): boolean {
  let isCounted = false;
  for (const file of files) {
    const count = readCount(file);
    if (count !== undefined && count !== "0") return true;
    isCounted ||= count !== undefined;
  }
  if (isCounted) return false;
  return files.some((file) => isInKernelLog(kernelLog, basename(dirname(file))));
}

/** `undefined` for a cgroup that is gone. */
function readCount(file: string): string | undefined {
  try {
    return /^oom_kill ([0-9]+)$/m.exec(readFileSync(file, "latin1"))?.[1];
  } catch {
    return undefined;
  }
}

/** A record has at most 8 KiB (printk). */
const recordBytes = 16 << 10;

/** Reads what the kernel still has of its log, at most a few thousand records; false where the log cannot be read. */
function isInKernelLog(path: string, cgroup: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return false; // not everybody may, as in a container
  }
  try {
    const record = Buffer.alloc(recordBytes);
    for (;;) {
      const length = readRecord(fd, record);
      if (length === 0) return false;
      if (isOomKill(record.toString("latin1", 0, length), cgroup)) return true;
    }
  } finally {
    closeSync(fd);
  }
}

/** 0 at the end. A record that was overwritten before it was read is passed over. */
function readRecord(fd: number, record: Buffer): number {
  for (;;) {
    try {
      return readSync(fd, record);
    } catch (err) {
      if (!isErrno(err, "EPIPE")) return 0;
    }
  }
}

/**
 * `oom-kill:constraint=...,task_memcg=/pods/CGROUP,task=...` or, where all of a cgroup is killed (memory.oom.group),
 * `Tasks in /pods/CGROUP are going to be killed due to memory.oom.group set`. Processes may be in a cgroup below.
 */
export function isOomKill(record: string, cgroup: string): boolean {
  const [, path] =
    /;oom-kill:.*,task_memcg=([^,]*),/.exec(record) ??
    /;Tasks in (.*) are going to be killed due to memory\.oom\.group set/.exec(record) ??
    [];
  return path?.split("/").includes(cgroup) === true;
}
