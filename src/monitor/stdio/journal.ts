import { statSync, writeFileSync } from "node:fs";
import { readInto } from "../../os/file/io.ts";
import { type LogStream, maxContentBytes } from "./cri-log.ts";
import type { HeldLine } from "./held-line.ts";
import type { LogPosition } from "./log-directory.ts";

/*
 * Output on its way from a pipe to a log file, in memory that outlives this process: a file on tmpfs, mapped shared.
 * A monitor that is killed at any instruction has lost nothing: its successor finds the bytes and the size that the
 * log had before them, cuts the log there, by whatever name it goes now, and writes them again. So each byte is logged
 * exactly once.
 *
 * The one thing a killed process cannot tell is whether the read it was in took place. Therefore the number of bytes
 * is settled first (FIONREAD; nobody else reads, so they stay) and the place they go to is marked with random bytes:
 * if the marks are still there, nothing was read. (A read of n < 16 bytes is mistaken once in 256^n such kills.)
 *
 * One slot takes what is read, the other the unfinished line that is carried over; byte 0 says which one counts, and
 * changing it is the only step that cannot be half done.
 */
const chunkBytes = 64 * 1024;
const markBytes = 16;
const slotHeaderBytes = 128;
const dataBytes = chunkBytes + maxContentBytes + markBytes;
const slotBytes = slotHeaderBytes + dataBytes;
const fileBytes = 64 + 2 * slotBytes;
const maxIdBytes = 64;

/** What a killed monitor left behind. */
export interface UnfinishedOutput {
  readonly container: string;
  readonly stream: LogStream;
  readonly bytes: Buffer;
  /** The end of the log before `bytes`. */
  readonly position: LogPosition;
}

export class Journal {
  readonly #map: Uint8Array;
  readonly #slots: readonly [Slot, Slot];
  readonly #marks = crypto.getRandomValues(Buffer.alloc(4096));
  #markAt = 0;
  #active: 0 | 1 = 0;

  constructor(path: string) {
    allocate(path);
    this.#map = Bun.mmap(path, { shared: true });
    const slot = (at: number) => new Slot(this.#map.subarray(at, at + slotBytes));
    this.#slots = [slot(64), slot(64 + slotBytes)];
  }

  /** What was under way when the last owner of the file ended. Call it before anything else. */
  recover(): UnfinishedOutput | undefined {
    const state = this.#map[0] ?? 0;
    return state === 0 ? undefined : this.#slots[state === 1 ? 0 : 1].recover();
  }

  /**
   * From here until `end`, what is read belongs to this stream, whose log ends at `position`. What was `held` of it comes
   * first.
   */
  begin(
    container: string,
    stream: LogStream,
    position: LogPosition,
    held?: Pick<HeldLine, "load">,
  ): void {
    this.#active = 0;
    for (const slot of this.#slots) slot.setSubject(container, stream, position.inode);
    const [slot] = this.#slots;
    slot.set(held?.load(slot.data) ?? 0, position.size);
    this.#map[0] = 1;
  }

  /** Reads at most `available` bytes, which must be there, behind the carried ones. Returns how many came. */
  read(fd: number, available: number): number | undefined {
    const slot = this.#slots[this.#active];
    if (this.#markAt + markBytes > this.#marks.byteLength) this.#markAt = 0;
    const count = slot.read(fd, Math.min(available, chunkBytes), this.#marks, this.#markAt);
    this.#markAt++;
    return count;
  }

  /** What has been read and not yet written: valid until `advance`. */
  get data(): Buffer {
    return this.#slots[this.#active].data;
  }

  get length(): number {
    return this.#slots[this.#active].length;
  }

  /** The first `consumed` bytes are in the log, which is `logSize` long now; the rest is carried over. */
  advance(consumed: number, logSize: number): void {
    const from = this.#slots[this.#active];
    const to = this.#active === 0 ? 1 : 0;
    const rest = from.length - consumed;
    from.data.copy(this.#slots[to].data, 0, consumed, from.length);
    this.#slots[to].set(rest, logSize);
    this.#active = to;
    this.#map[0] = to + 1;
  }

  end(): void {
    this.#map[0] = 0;
  }
}

/** Keeps what a killed owner left. Writes zeros instead of a hole: a full tmpfs is an error now and no SIGBUS later. */
function allocate(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.size === fileBytes) return;
  writeFileSync(path, Buffer.alloc(fileBytes), { mode: 0o600 });
}

/** Two counts in one number, so that one store changes both: bytes that are there, and bytes being read. */
const pendingUnit = 2 ** 20;

/** Header: the two counts, the log size, stream, id, marks, the log's inode. Then the data. */
class Slot {
  readonly data: Buffer;
  readonly #header: Buffer;
  readonly #numbers: Float64Array;
  readonly #inode: Float64Array;

  constructor(memory: Uint8Array) {
    const { buffer, byteOffset } = memory;
    this.#header = Buffer.from(buffer, byteOffset, slotHeaderBytes);
    this.#numbers = new Float64Array(buffer, byteOffset, 2);
    this.#inode = new Float64Array(buffer, byteOffset + 112, 1);
    this.data = Buffer.from(buffer, byteOffset + slotHeaderBytes, dataBytes);
  }

  get length(): number {
    return (this.#numbers[0] ?? 0) % pendingUnit;
  }

  setSubject(container: string, stream: LogStream, inode: number): void {
    this.#inode[0] = inode;
    this.#header[16] = stream === "stdout" ? 1 : 2;
    this.#header.fill(0, 24, 24 + maxIdBytes);
    this.#header.write(container.slice(0, maxIdBytes), 24, "latin1");
  }

  set(length: number, logSize: number): void {
    this.#numbers[0] = length;
    this.#numbers[1] = logSize;
  }

  read(fd: number, count: number, marks: Buffer, markAt: number): number | undefined {
    const { length } = this;
    marks.copy(this.#header, 96, markAt, markAt + markBytes);
    marks.copy(this.data, length, markAt, markAt + markBytes);
    this.#numbers[0] = length + count * pendingUnit;
    const got = readInto(fd, this.data, length, count);
    this.#numbers[0] = length + (got ?? 0);
    return got;
  }

  recover(): UnfinishedOutput {
    const [counts = 0, logSize = 0] = this.#numbers;
    const length = counts % pendingUnit;
    const pending = Math.floor(counts / pendingUnit);
    const size = Math.min(dataBytes, length + (this.#wasRead(length, pending) ? pending : 0));
    return {
      container: this.#header.toString("latin1", 24, 24 + maxIdBytes).replace(/\0+$/, ""),
      stream: this.#header[16] === 1 ? "stdout" : "stderr",
      bytes: Buffer.from(this.data.subarray(0, size)),
      position: { inode: this.#inode[0] ?? 0, size: logSize },
    };
  }

  #wasRead(length: number, pending: number): boolean {
    if (pending === 0 || length + markBytes > dataBytes) return false;
    const marked = Math.min(markBytes, pending);
    const found = this.data.subarray(length, length + marked);
    return !found.equals(this.#header.subarray(96, 96 + marked));
  }
}
