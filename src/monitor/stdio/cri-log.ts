import { realtimeNs } from "../../os/clock.ts";
import { type FormatLines, headerRoom } from "../../os/file/log-library.ts";

/**
 * The CRI log format: `<RFC 3339 time> stdout|stderr P|F <content>\n`. F ends a line of the container, P does not;
 * bytes are kept as they are.
 */
export type LogStream = "stdout" | "stderr";

/** A longer line is written in pieces: P, ..., P, F. */
export const maxContentBytes = 16 * 1024;

const newline = 0x0a;
const space = 0x20;
const partial = 0x50;
const full = 0x46;

/** Where entries go: one call holds whole entries only. The bytes are valid until it returns. */
export type EntrySink = (entries: Buffer, length: number) => void;

/**
 * Formats into one buffer that is used again and again, so that a burst of output leaves nothing for the collector. All
 * entries of one call have the same time, that of the call.
 */
export class CriLogFormatter {
  /** Has room for what comes of 64 KiB in lines of 60 bytes and more, so that most reads become one write. */
  readonly #out = Buffer.allocUnsafeSlow(128 * 1024);
  readonly #header = Buffer.allocUnsafeSlow(headerRoom);
  readonly #native: FormatLines | undefined;
  #headerLength = 0;
  #used = 0;

  /** `native` does the same in native code; without it, work per byte is done here. */
  constructor(native?: FormatLines) {
    this.#native = native;
  }

  /**
   * Writes what `input[0, end)` holds of whole lines and of full pieces of longer ones, and returns how many bytes
   * that was: the rest is the beginning of a line. With `isLast` the rest is written too, as a piece.
   */
  format(input: Buffer, end: number, stream: LogStream, isLast: boolean, sink: EntrySink): number {
    this.#headerLength = this.#header.write(`${formatTime(realtimeNs())} ${stream} `, 0, "latin1");
    if (this.#native === undefined) return this.#format(input, end, isLast, sink);
    let from = 0;
    while (from < end) {
      const [header, length, out] = [this.#header, this.#headerLength, this.#out];
      const done = this.#native(input, from, end, header, length, out, isLast);
      from += done.consumed;
      if (done.produced > 0) sink(out, done.produced);
      if (!done.isFull) break;
    }
    return from;
  }

  #format(input: Buffer, end: number, isLast: boolean, sink: EntrySink): number {
    let from = 0;
    while (from < end) {
      const limit = Math.min(end, from + maxContentBytes);
      const at = findNewline(input, from, Math.min(end, limit + 1));
      if (at >= 0) {
        this.#entry(input, from, at, full, sink);
        from = at + 1;
      } else if (end > limit || isLast) {
        this.#entry(input, from, limit, partial, sink);
        from = limit;
      } else break;
    }
    this.#flush(sink);
    return from;
  }

  #entry(input: Buffer, from: number, to: number, tag: number, sink: EntrySink): void {
    const size = this.#headerLength + 3 + to - from;
    if (this.#used + size > this.#out.byteLength) this.#flush(sink);
    const out = this.#out;
    const header = this.#header;
    let at = this.#used;
    for (let i = 0; i < this.#headerLength; i++) out[at++] = header[i] as number;
    out[at++] = tag;
    out[at++] = space;
    if (to - from < 128) for (let i = from; i < to; i++) out[at++] = input[i] as number;
    else at += input.copy(out, at, from, to);
    out[at++] = newline;
    this.#used = at;
  }

  #flush(sink: EntrySink): void {
    if (this.#used === 0) return;
    const length = this.#used;
    this.#used = 0;
    sink(this.#out, length);
  }
}

/** The first newline in `[from, end)`, or -1. Lines are short: a loop beats a call, which gets the rest. */
function findNewline(input: Buffer, from: number, end: number): number {
  const near = Math.min(end, from + 256);
  for (let i = from; i < near; i++) if (input[i] === newline) return i;
  if (near === end) return -1;
  const at = input.indexOf(newline, near);
  return at >= 0 && at < end ? at : -1;
}

let second = -1n;
let secondText = "";

/** RFC 3339 with nanoseconds, UTC. The text of the running second is kept. */
export function formatTime(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  if (seconds !== second) {
    second = seconds;
    secondText = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  }
  return `${secondText}.${(ns % 1_000_000_000n).toString().padStart(9, "0")}Z`;
}
