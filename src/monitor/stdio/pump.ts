import { EPOLLIN } from "../../os/epoll.ts";
import { isErrno } from "../../os/errno-error.ts";
import { bytesReadable } from "../../os/file/io.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import type { Loop } from "../loop.ts";
import { CriLogFormatter, type LogStream } from "./cri-log.ts";
import type { Journal, UnfinishedOutput } from "./journal.ts";
import type { LogPosition } from "./log-directory.ts";
import type { LogFile } from "./log-file.ts";

/** How many reads of up to 64 KiB one stream gets before the others have their turn. */
const readsPerTurn = 16;

/** Of output that nobody wants. */
const nowhere: LogPosition = { inode: 0, size: 0 };

/** One pipe or terminal of one container, and where its output goes. */
export interface Output {
  readonly container: string;
  readonly stream: LogStream;
  readonly source: OwnedFd;
  readonly log: LogFile | undefined;
  /** Hears of every byte as it comes, `[from, to)` of `data`, which is valid until it returns. */
  readonly tap?: (data: Buffer, from: number, to: number) => void;
}

/**
 * Moves output into logs. Between two turns nothing is held back: what is left of an unfinished line when a pipe is
 * empty, or when the turn is over, is written as a piece (P), and the rest follows as another.
 */
export class Pump {
  readonly #loop: Loop;
  readonly #journal: Journal;
  readonly #formatter = new CriLogFormatter();

  constructor(loop: Loop, journal: Journal) {
    this.#loop = loop;
    this.#journal = journal;
  }

  /** Pumps from now on, until everybody has closed the other end. `onEnd` comes then, once. */
  start(output: Output, onEnd: () => void): void {
    const { source } = output;
    this.#loop.watch(source.fd, EPOLLIN, () => {
      if (!this.turn(output)) return;
      this.#loop.unwatch(source.fd);
      onEnd();
    });
  }

  stop(output: Output): void {
    this.#loop.unwatch(output.source.fd);
  }

  /** Moves what is there now, within limits. True at the end of the stream. */
  turn(output: Output): boolean {
    const journal = this.#journal;
    journal.begin(output.container, output.stream, output.log?.position ?? nowhere);
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
      journal.advance(consumed, output.log?.position.size ?? 0);
    }
    if (journal.length > 0) this.#write(output, journal.data, journal.length, true);
    journal.end();
    return isAtEnd;
  }

  /** Writes what a killed monitor had read and perhaps half written. */
  finish(unfinished: UnfinishedOutput, log: LogFile): void {
    const { stream, bytes, position } = unfinished;
    log.takeBack(position);
    this.#formatter.format(bytes, bytes.byteLength, stream, true, (entries, length) =>
      log.append(entries, length, stream),
    );
    this.#journal.end();
  }

  #read(output: Output, available: number): number | undefined {
    try {
      return this.#journal.read(output.source.fd, available);
    } catch (err) {
      if (isErrno(err, "EIO")) return 0; // a terminal that nobody has open any more
      throw err;
    }
  }

  #write({ log, stream }: Output, data: Buffer, length: number, isLast: boolean): number {
    if (log === undefined) return length;
    return this.#formatter.format(data, length, stream, isLast, (entries, size) =>
      log.append(entries, size, stream),
    );
  }
}
