import { openPipe, setNonblocking } from "../../../os/file/io.ts";
import type { OwnedFd } from "../../../os/file/owned-fd.ts";
import type { OutputBudget } from "../../output-pool.ts";

/**
 * In the output itself, since ExecSyncResponse has no field for it and nobody reads a log of probes. CRI-O's limit is
 * 16 MiB as well.
 */
const mark = Buffer.from("\n[crib: output truncated]\n");

/**
 * Takes what a program writes into a pipe: a real one, since a program may want to open /dev/stdout again, which a
 * socket does not allow. Over the budget it goes on reading, so that the program does not stall, and keeps nothing.
 */
export class Capture implements AsyncDisposable {
  readonly #readEnd: OwnedFd;
  readonly #budget: OutputBudget;
  readonly #reader: ReturnType<typeof readerOf>;
  readonly #chunks: Uint8Array[] = [];
  #isTruncated = false;
  /** For the program; to be closed here as soon as it has it. */
  readonly writeEnd: OwnedFd;
  /** Settles when nobody has the pipe open for writing any more. */
  readonly done: Promise<void>;

  constructor(budget: OutputBudget) {
    const { readEnd, writeEnd } = openPipe();
    this.#readEnd = readEnd;
    this.writeEnd = writeEnd;
    this.#budget = budget;
    setNonblocking(readEnd.fd);
    this.#reader = readerOf(readEnd.fd);
    this.done = this.#read();
  }

  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  output(): Buffer {
    return Buffer.concat(this.#isTruncated ? [...this.#chunks, mark] : this.#chunks);
  }

  async #read(): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      const kept = value.subarray(0, this.#budget.take(value.byteLength));
      if (kept.byteLength > 0) this.#chunks.push(kept);
      if (kept.byteLength < value.byteLength) this.#isTruncated = true;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.writeEnd[Symbol.dispose]();
    await this.#reader.cancel();
    await this.done;
    this.#readEnd[Symbol.dispose]();
  }
}

/** Event-driven. Neither its end nor cancelling it closes the descriptor. */
function readerOf(fd: number) {
  return Bun.file(fd).stream().getReader();
}
