import { EPOLLIN } from "../../os/epoll.ts";
import { isErrno } from "../../os/errno-error.ts";
import { bytesReadable } from "../../os/file/io.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import type { Loop } from "../loop.ts";
import { CriLogFormatter, type LogStream } from "./cri-log.ts";
import type { HeldLine } from "./held-line.ts";
import type { Journal, UnfinishedOutput } from "./journal.ts";
import type { LogPosition } from "./log-directory.ts";
import type { LogFile } from "./log-file.ts";

/** How many reads of up to 64 KiB one stream gets before the others have their turn. */
const readsPerTurn = 16;

/** Of output that nobody wants. */
const nowhere: LogPosition = { inode: 0, size: 0 };

/** One pipe or terminal of one container, and where its output goes. */
export interface PumpedOutput extends LoggedStream {
  readonly source: OwnedFd;
  /** Called with every byte as it comes, `[from, to)` of `data`, which is valid until it returns. */
  readonly tap?: (data: Buffer, from: number, to: number) => void;
}

/** Where the output of one stream goes. */
export interface LoggedStream {
  readonly container: string;
  readonly stream: LogStream;
  readonly log: LogFile | undefined;
  /** Absent: a line that has not ended is written in pieces, as it comes. */
  readonly held: HeldLine | undefined;
}

/** For so long a line is waited for whose beginning has come. */
const maxHeldMs = 10_000;
const heldCheckMs = 1000;

/**
 * Moves output into logs, an entry for each line, however it comes. The beginning of a line is held until the rest comes,
 * for ten seconds or up to 16 KiB; then it is written as a piece (P), and the rest follows as another.
 */
export class Pump {
  readonly #loop: Loop;
  readonly #journal: Journal;
  readonly #formatter: CriLogFormatter;
  readonly #holding = new Map<HeldLine, LoggedStream>();
  #isChecking = false;

  constructor(loop: Loop, journal: Journal, formatter: CriLogFormatter = new CriLogFormatter()) {
    this.#loop = loop;
    this.#journal = journal;
    this.#formatter = formatter;
  }

  /** Pumps from now on, until everybody has closed the other end. `onEnd` comes then, once. */
  start(output: PumpedOutput, onEnd: () => void): void {
    const { source, held } = output;
    if (held !== undefined && held.length > 0) this.#hold(held, output);
    this.#loop.watch(source.fd, EPOLLIN, () => {
      if (!this.turn(output)) return;
      this.#loop.unwatch(source.fd);
      onEnd();
    });
  }

  stop({ held, source }: PumpedOutput): void {
    if (held !== undefined) this.#holding.delete(held);
    this.#loop.unwatch(source.fd);
  }

  /** Moves what is there now, within limits. True at the end of the stream. */
  turn(output: PumpedOutput): boolean {
    const { held, log } = output;
    const journal = this.#journal;
    log?.rotateIfFull();
    journal.begin(output.container, output.stream, log?.position ?? nowhere, held);
    let unchanged = journal.length;
    let isAtEnd = false;
    for (let i = 0; i < readsPerTurn && !isAtEnd; i++) {
      const available = bytesReadable(output.source.fd);
      if (available === 0 && i > 0) break;
      // An event without bytes is the end, or something that cannot tell how many: a read of one shows which.
      const carried = journal.length;
      const count = this.#read(output, Math.max(available, 1));
      if (count === undefined) break;
      isAtEnd = count === 0;
      output.tap?.(journal.data, carried, journal.length);
      const consumed = this.#write(output, journal.data, journal.length, false);
      if (consumed > 0) unchanged = 0;
      journal.advance(consumed, log?.position.size ?? 0);
      if (log?.isFull === true) break;
    }
    if (isAtEnd) this.#writeRest(output);
    else this.#holdRest(output, unchanged);
    journal.end();
    return isAtEnd;
  }

  /** Writes what is held of a stream: no more of it is waited for. */
  flush(stream: LoggedStream): void {
    if (stream.held === undefined || stream.held.length === 0) return;
    const { container, log, held } = stream;
    this.#journal.begin(container, stream.stream, log?.position ?? nowhere, held);
    this.#writeRest(stream);
    this.#journal.end();
  }

  /** Goes on with what a killed monitor had read and perhaps half written. */
  finish({ bytes, position }: UnfinishedOutput, stream: LoggedStream): void {
    const { log, held } = stream;
    log?.takeBack(position);
    const length = bytes.byteLength;
    const consumed = this.#write(stream, bytes, length, false);
    const rest = bytes.subarray(consumed);
    if (rest.byteLength === 0) held?.clear();
    else if (held?.store(rest, rest.byteLength, 0) !== true) {
      this.#write(stream, rest, rest.byteLength, true);
    }
    this.#journal.end();
  }

  /** Puts the unfinished line where it is found when the journal has ended. */
  #holdRest(output: PumpedOutput, unchanged: number): void {
    const { held } = output;
    const { data, length } = this.#journal;
    if (held === undefined || length === 0 || !held.store(data, length, unchanged)) {
      this.#writeRest(output);
    } else if (unchanged === 0) this.#hold(held, output);
  }

  #writeRest(stream: LoggedStream): void {
    const { data, length } = this.#journal;
    if (length > 0) this.#write(stream, data, length, true);
    if (stream.held === undefined) return;
    stream.held.clear();
    this.#holding.delete(stream.held);
  }

  #hold(held: HeldLine, stream: LoggedStream): void {
    held.sinceMs = performance.now();
    this.#holding.set(held, stream);
    if (this.#isChecking) return;
    this.#isChecking = true;
    this.#loop.after(heldCheckMs, () => this.#checkHeld());
  }

  #checkHeld(): void {
    const latest = performance.now() - maxHeldMs;
    for (const [held, stream] of this.#holding) if (held.sinceMs <= latest) this.flush(stream);
    this.#isChecking = this.#holding.size > 0;
    if (this.#isChecking) this.#loop.after(heldCheckMs, () => this.#checkHeld());
  }

  #read(output: PumpedOutput, available: number): number | undefined {
    try {
      return this.#journal.read(output.source.fd, available);
    } catch (err) {
      if (isErrno(err, "EIO")) return 0; // a terminal that nobody has open any more
      throw err;
    }
  }

  #write({ log, stream }: LoggedStream, data: Buffer, length: number, isLast: boolean): number {
    if (log === undefined) return length;
    return this.#formatter.format(data, length, stream, isLast, (entries, size) =>
      log.append(entries, size, stream),
    );
  }
}
