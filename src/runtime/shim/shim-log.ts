import { constants, existsSync, openSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { makeFifo } from "../../os/file/fifo.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";

const maxLine = 2000;
const keptLines = 5;

/**
 * What a shim logs: it opens the named pipe `log` in its bundle and would wait there for a reader. Lines are logged for
 * who debugs, and the last ones kept, because they say why a shim has died. Disposing closes it; the pipe stays.
 */
export class ShimLog implements AsyncDisposable {
  readonly #fd: OwnedFd;
  readonly #reader: ReturnType<typeof readerOf>;
  readonly #lines: string[] = [];
  readonly #done: Promise<void>;

  constructor(ctx: Context, bundleDir: string) {
    const path = `${bundleDir}/log`;
    if (!existsSync(path)) makeFifo(path, 0o600);
    // For writing as well: so it has no end, whatever comes and goes.
    this.#fd = new OwnedFd(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    this.#reader = readerOf(this.#fd.fd);
    this.#done = this.#read(ctx).catch(() => {});
  }

  /** The last lines that tell of a failure, for an error. */
  get last(): string {
    return this.#lines.join("; ");
  }

  async #read(ctx: Context): Promise<void> {
    let rest = "";
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      const lines = (rest + Buffer.from(value).toString("latin1")).split("\n");
      rest = (lines.pop() ?? "").slice(0, maxLine);
      for (const line of lines) this.#take(ctx, line.slice(0, maxLine));
    }
  }

  #take(ctx: Context, line: string): void {
    if (line === "") return;
    ctx.log.debug("shim log line", { line });
    if (!/level=(error|fatal|panic)|panic:/.test(line)) return;
    this.#lines.push(line);
    if (this.#lines.length > keptLines) this.#lines.shift();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel().catch(() => {});
    await this.#done;
    this.#fd[Symbol.dispose]();
  }
}

function readerOf(fd: number) {
  return Bun.file(fd).stream().getReader();
}
