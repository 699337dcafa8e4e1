import { randomBytes } from "node:crypto";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Subprocess } from "bun";
import { abortable } from "../../lib/abortable.ts";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { parseJson } from "../../lib/json.ts";
import { ownChild } from "../../os/process/own-child.ts";
import type { LayerReport } from "../layer/layer-report.ts";
import { encodeOrder } from "./series-frame.ts";
import type { UnpackArgv } from "./unpack-child.ts";
import { unpackEnv } from "./unpack-env.ts";
import { readFailure } from "./unpack-process.ts";

const maxResponseBytes = 32 << 20;
const idleMs = 1000;

/**
 * Children that unpack small layers in a row (unpack-series.ts): starting one costs more than the layer. The layers of
 * one group, an image, may share a child; those of two never do.
 */
export class SmallLayers {
  readonly #argv: UnpackArgv;
  readonly #directory: string;
  readonly #idle = new WeakMap<object, SeriesChild[]>();

  /** The children's directories are made in `directory`, which is on the layers' file system. */
  constructor(argv: UnpackArgv, directory: string) {
    this.#argv = argv;
    this.#directory = directory;
  }

  /** Unpacks the layer into `directory`/fs. The last part of `directory` is 16 hex digits. */
  async apply(
    ctx: Context,
    group: object,
    directory: string,
    bytes: Uint8Array,
  ): Promise<LayerReport> {
    const idle = this.#idle.get(group) ?? [];
    this.#idle.set(group, idle);
    const child = idle.pop() ?? new SeriesChild(this.#argv, this.#directory);
    try {
      const report = await child.apply(ctx, directory, bytes);
      idle.push(child);
      child.endWhenIdle(() => idle.splice(idle.indexOf(child), 1));
      return report;
    } catch (err) {
      child[Symbol.dispose]();
      throw err;
    }
  }
}

class SeriesChild implements Disposable {
  readonly #directory: string;
  readonly #child: Subprocess<"pipe", "pipe", "ignore">;
  readonly #responses: AsyncIterator<Buffer>;
  #timer: Timer | undefined;

  constructor(argv: UnpackArgv, parent: string) {
    this.#directory = join(parent, `series-${randomBytes(8).toString("hex")}`);
    mkdirSync(this.#directory, { mode: 0o700 });
    this.#child = ownChild(
      Bun.spawn([...argv("series", this.#directory)], {
        cwd: "/",
        env: { ...unpackEnv },
        stdio: ["pipe", "pipe", "ignore"],
      }),
    );
    this.#responses = lines(this.#child.stdout);
  }

  /** The layer is in the child's reach only meanwhile. */
  async apply(ctx: Context, directory: string, bytes: Uint8Array): Promise<LayerReport> {
    clearTimeout(this.#timer);
    ctx.signal.throwIfAborted();
    const name = basename(directory);
    const inside = join(this.#directory, name);
    renameSync(directory, inside);
    try {
      this.#child.stdin.write(encodeOrder({ name, sizeBytes: bytes.byteLength }));
      this.#child.stdin.write(bytes);
      // A child that has ended says so on its stdout.
      Promise.resolve(this.#child.stdin.flush()).catch(() => {});
      const line = await abortable(this.#responses.next(), ctx.signal);
      if (line.done === true) {
        throw new AppError("unpacking was ended", { kind: "resource-exhausted" });
      }
      const failure = readFailure(line.value);
      if (failure !== undefined) throw failure;
      return parseJson(line.value, "report", { maxBytes: maxResponseBytes }) as LayerReport;
    } catch (err) {
      this.#child.kill("SIGKILL");
      await this.#child.exited;
      throw err;
    } finally {
      renameSync(inside, directory);
    }
  }

  endWhenIdle(onEnd: () => void): void {
    this.#timer = setTimeout(() => {
      onEnd();
      this[Symbol.dispose]();
    }, idleMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#child.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<Buffer> {
  let begun: Uint8Array[] = [];
  for await (const chunk of stream) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      yield Buffer.concat([...begun, chunk.subarray(from, end)]);
      begun = [];
      from = end + 1;
    }
    if (from < chunk.byteLength) begun.push(chunk.subarray(from));
  }
}
