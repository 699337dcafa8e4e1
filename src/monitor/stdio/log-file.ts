import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
} from "node:fs";
import { basename, dirname } from "node:path";
import { describe } from "../../lib/errors.ts";
import { realtimeNs } from "../../os/clock.ts";
import { isErrno } from "../../os/errno-error.ts";
import { writeFrom } from "../../os/file/io.ts";
import type { ContainerPlan } from "../../runtime/monitor/monitor-protocol.ts";
import { formatTime, type LogStream } from "./cri-log.ts";
import { cutLog, type LogPosition, openLogDirectory } from "./log-directory.ts";
import { LogGap } from "./log-gap.ts";

type LogLimits = NonNullable<ContainerPlan["logLimits"]>;

const flags =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NOFOLLOW |
  constants.O_NONBLOCK;

/** Not opened yet; `undefined` for a container whose output nobody wants. */
export function logOf(plan: ContainerPlan): LogFile | undefined {
  const { logPath, podLogDirectory, logLimits, dir } = plan;
  if (logPath === "") return undefined;
  return new LogFile(logPath, podLogDirectory, `${dir}/log-gap`, logLimits);
}

/**
 * A container's log file. Writing never fails and never stops the container: what does not fit the disk is dropped,
 * nothing of it stays half written, and the next entry that fits says how much is missing.
 */
export class LogFile implements Disposable {
  readonly path: string;
  readonly #podDirectory: string | undefined;
  /** `undefined` while the file of a running container cannot be opened: a full or read-only disk. */
  #fd: number | undefined;
  #inode = 0;
  /** How long the file is; nobody else appends to it. */
  #size = 0;
  readonly #gap: LogGap;
  readonly #limits: LogLimits | undefined;

  /**
   * `podDirectory`: the directory of all of the pod's logs, below which no link is followed. `gapFile`: where to keep
   * how much is missing, for a successor. Without `limits` whoever reads the log rotates it, as a kubelet does.
   */
  constructor(path: string, podDirectory?: string, gapFile?: string, limits?: LogLimits) {
    this.path = path;
    this.#podDirectory = podDirectory;
    this.#gap = new LogGap(gapFile);
    this.#limits = limits;
  }

  /** Throws where the file cannot be opened. */
  open(): this {
    this.reopen();
    return this;
  }

  /** Of a container that runs already: where the file cannot be opened, its output is dropped until it can. */
  openIfPossible(): this {
    try {
      this.reopen();
    } catch (err) {
      this.#gap.reason = describe(err);
    }
    return this;
  }

  get position(): LogPosition {
    return { inode: this.#inode, size: this.#size };
  }

  /** The kubelet has renamed the file: from now on a new one at the same path. The old one stays when that fails. */
  reopen(): void {
    const { fd, inode, size } = open(this.path, this.#podDirectory);
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = fd;
    this.#inode = inode;
    this.#size = size;
  }

  /** Longer than one file is to be. */
  get isFull(): boolean {
    return this.#limits !== undefined && this.#size >= this.#limits.maxSizeBytes;
  }

  /**
   * Gives a full file the name `.1`, the one before it `.2`, and begins a new one; the oldest goes. Called where
   * nothing is half written. What cannot be renamed goes on as it is.
   */
  rotateIfFull(): void {
    if (!this.isFull || this.#limits === undefined) return;
    try {
      using directory = openLogDirectory(dirname(this.path), this.#podDirectory);
      const path = `/proc/self/fd/${directory.fd}/${basename(this.path)}`;
      const kept = this.#limits.maxFiles - 1;
      for (let i = kept - 1; i > 0; i--) rename(`${path}.${i}`, `${path}.${i + 1}`);
      if (kept > 0) rename(path, `${path}.1`);
      else rmSync(path, { force: true });
      this.reopen();
    } catch (err) {
      this.#gap.reason = describe(err);
    }
  }

  /**
   * Takes back what a killed monitor wrote after `position`. While nobody had the file open it may have been rotated:
   * then it is cut under its new name.
   */
  takeBack({ inode, size }: LogPosition): void {
    if (inode === this.#inode || inode === 0) {
      this.#rewind(size);
      return;
    }
    try {
      using directory = openLogDirectory(dirname(this.path), this.#podDirectory);
      cutLog(directory, { inode, size });
    } catch {
      // What was written twice stays there twice.
    }
  }

  #rewind(size: number): void {
    if (size >= this.#size || this.#fd === undefined) return;
    ftruncateSync(this.#fd, size);
    this.#size = size;
  }

  /** Appends whole entries of one stream. */
  append(entries: Buffer, length: number, stream: LogStream): void {
    if (!this.#markGap(stream) || !this.#write(entries, length)) this.#gap.add(length);
  }

  /** Nothing more is coming: what is missing is said now or never. */
  finish(): void {
    this.#markGap("stdout");
  }

  /** False when something is missing and there is no room to say so. */
  #markGap(stream: LogStream): boolean {
    const { bytes, reason } = this.#gap;
    if (bytes === 0) return true;
    const text = `crib: ${bytes} bytes of this log are missing: ${reason}`;
    const entry = Buffer.from(`${formatTime(realtimeNs())} ${stream} F ${text}\n`);
    if (!this.#write(entry, entry.byteLength)) return false;
    this.#gap.close();
    return true;
  }

  #write(bytes: Buffer, length: number): boolean {
    if (this.#fd === undefined) this.openIfPossible();
    const before = this.#size;
    try {
      if (this.#fd === undefined) throw new Error(this.#gap.reason);
      for (let at = 0; at < length; ) {
        const written = writeFrom(this.#fd, bytes, at, length - at) ?? 0;
        if (written === 0) throw new Error("the file takes no more");
        at += written;
        this.#size += written;
      }
      return true;
    } catch (err) {
      this.#gap.reason = describe(err);
      try {
        this.#rewind(before);
      } catch {
        // Half an entry stays. A reader finds the next one by its time.
      }
      return false;
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}

function rename(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (err) {
    if (!isErrno(err, "ENOENT")) throw err;
  }
}

function open(
  path: string,
  podDirectory: string | undefined,
): LogPosition & { readonly fd: number } {
  using directory = openLogDirectory(dirname(path), podDirectory);
  const fd = openSync(`/proc/self/fd/${directory.fd}/${basename(path)}`, flags, 0o640);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`log ${path}: not a regular file`);
    if (stat.size === 0) fchmodSync(fd, 0o640); // whatever umask we run with
    return { fd, inode: stat.ino, size: stat.size };
  } catch (err) {
    closeSync(fd);
    throw err;
  }
}
