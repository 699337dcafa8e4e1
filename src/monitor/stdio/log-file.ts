import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { describe } from "../../lib/errors.ts";
import { realtimeNs } from "../../os/clock.ts";
import { writeFrom } from "../../os/file/io.ts";
import { formatTime, type LogStream } from "./cri-log.ts";
import { openLogDirectory } from "./log-directory.ts";

const flags =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NOFOLLOW |
  constants.O_NONBLOCK;

/**
 * A container's log file. Writing never fails and never stops the container: what does not fit the disk is dropped,
 * nothing of it stays half written, and the next entry that fits says how much is missing.
 */
export class LogFile implements Disposable {
  readonly path: string;
  readonly #podDirectory: string | undefined;
  /** `undefined` while the file of a running container cannot be opened: a full or read-only disk. */
  #fd: number | undefined;
  /** How long the file is; nobody else appends to it. */
  #size = 0;
  #dropped = 0;
  #reason = "";

  /** `podDirectory`: the directory of all of the pod's logs, below which no link is followed. */
  constructor(path: string, podDirectory?: string) {
    this.path = path;
    this.#podDirectory = podDirectory;
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
      this.#reason = describe(err);
    }
    return this;
  }

  get size(): number {
    return this.#size;
  }

  /** The kubelet has renamed the file: from now on a new one at the same path. The old one stays when that fails. */
  reopen(): void {
    const [fd, size] = open(this.path, this.#podDirectory);
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = fd;
    this.#size = size;
  }

  /** Takes back what was written after `size`. */
  rewind(size: number): void {
    if (size >= this.#size || this.#fd === undefined) return;
    ftruncateSync(this.#fd, size);
    this.#size = size;
  }

  /** Appends whole entries of one stream. */
  append(entries: Buffer, length: number, stream: LogStream): void {
    if (this.#dropped > 0 && !this.#markGap(stream)) this.#dropped += length;
    else if (!this.#write(entries, length)) this.#dropped += length;
  }

  #markGap(stream: LogStream): boolean {
    const text = `crib: ${this.#dropped} bytes of this log are missing: ${this.#reason}`;
    const entry = Buffer.from(`${formatTime(realtimeNs())} ${stream} F ${text}\n`);
    if (!this.#write(entry, entry.byteLength)) return false;
    this.#dropped = 0;
    return true;
  }

  #write(bytes: Buffer, length: number): boolean {
    if (this.#fd === undefined) this.openIfPossible();
    const before = this.#size;
    try {
      if (this.#fd === undefined) throw new Error(this.#reason);
      for (let at = 0; at < length; ) {
        const written = writeFrom(this.#fd, bytes, at, length - at) ?? 0;
        if (written === 0) throw new Error("the file takes no more");
        at += written;
        this.#size += written;
      }
      return true;
    } catch (err) {
      this.#reason = describe(err);
      try {
        this.rewind(before);
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

function open(path: string, podDirectory: string | undefined): readonly [fd: number, size: number] {
  using directory = openLogDirectory(dirname(path), podDirectory);
  const fd = openSync(`/proc/self/fd/${directory.fd}/${basename(path)}`, flags, 0o640);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`log ${path}: not a regular file`);
    if (stat.size === 0) fchmodSync(fd, 0o640); // whatever umask we run with
    return [fd, stat.size];
  } catch (err) {
    closeSync(fd);
    throw err;
  }
}
