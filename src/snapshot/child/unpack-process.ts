import type { Subprocess } from "bun";
import { readBeginning } from "../../lib/collect.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, parseErrorKind } from "../../lib/errors.ts";
import { asObject, asString, parseJson } from "../../lib/json.ts";
import { ownChild } from "../../os/process/own-child.ts";
import { unpackEnv } from "./unpack-env.ts";

const maxReportBytes = 32 << 20;
const maxStderrBytes = 4096;

export interface UnpackStdio {
  /** A descriptor to read from instead of what `feed` gives. */
  readonly stdin?: number;
  /** Becomes descriptor 3. */
  readonly output?: number;
}

/** One `crib unpack` in progress. Ends with the context, and at the latest when it is disposed. */
export class UnpackProcess implements AsyncDisposable {
  readonly #signal: AbortSignal;
  readonly #child: Subprocess<"pipe" | number, "pipe", "pipe">;
  readonly #output: Promise<readonly [stdout: Buffer, stderr: Buffer]>;
  readonly #kill = (): void => this.#child.kill("SIGKILL");
  #hasEnded = false;
  readonly #ended: Promise<void>;

  constructor(ctx: Context, argv: readonly string[], { stdin, output }: UnpackStdio = {}) {
    ctx.signal.throwIfAborted();
    this.#signal = ctx.signal;
    this.#child = ownChild(
      Bun.spawn([...argv], {
        cwd: "/",
        env: { ...unpackEnv },
        stdio: [stdin ?? "pipe", "pipe", "pipe", ...(output === undefined ? [] : [output])],
      }),
    );
    this.#signal.addEventListener("abort", this.#kill, { once: true });
    this.#ended = this.#child.exited.then(() => {
      this.#hasEnded = true;
    });
    this.#output = Promise.all([
      readBeginning(this.#child.stdout, maxReportBytes),
      readBeginning(this.#child.stderr, maxStderrBytes),
    ]);
    this.#output.catch(() => {});
  }

  /** Gives it all of `source`. Stops as soon as the process reads no more: why that is is in its report. */
  async feed(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    const { stdin } = this.#child;
    if (typeof stdin !== "object") throw new TypeError("fed, though it has a descriptor to read");
    let isDeaf = false;
    const untilSent = async (send: () => unknown) => {
      try {
        await send();
      } catch {
        isDeaf = true;
      }
    };
    // While one piece goes out the next is got; the sink copies what it cannot send at once.
    let sent = Promise.resolve();
    for await (const chunk of source) {
      await Promise.race([sent, this.#ended]);
      if (this.#hasEnded || isDeaf) return;
      sent = untilSent(() => {
        stdin.write(chunk);
        return stdin.flush();
      });
    }
    await Promise.race([sent, this.#ended]);
    if (!this.#hasEnded) await Promise.race([untilSent(() => stdin.end()), this.#ended]);
  }

  /** What it says when all went well, read as JSON; its failure otherwise. Waits for the end. */
  async report(): Promise<unknown> {
    const [stdout, stderr] = await this.#output;
    await this.#ended;
    this.#signal.throwIfAborted();
    const { exitCode, signalCode } = this.#child;
    if (signalCode !== null) {
      const kind = signalCode === "SIGKILL" ? "resource-exhausted" : "internal";
      throw new AppError(`unpacking was ended by ${signalCode}`, { kind });
    }
    if (exitCode === 0) return parseJson(stdout, "unpack report", { maxBytes: maxReportBytes });
    throw readFailure(stdout) ?? new AppError(`unpack: ${stderr.toString()}`, { kind: "internal" });
  }

  kill(): void {
    this.#kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill();
    await this.#ended;
    await this.#output.catch(() => {});
    this.#signal.removeEventListener("abort", this.#kill);
  }
}

/** The failure that a child reported; undefined if it reported none. */
export function readFailure(output: Buffer): AppError | undefined {
  try {
    const failure = asObject(parseJson(output, "", { maxBytes: maxReportBytes }), "");
    const kind = parseErrorKind(asString(failure["kind"], ""));
    return new AppError(`unpack: ${asString(failure["error"], "")}`, { kind });
  } catch {
    return undefined;
  }
}
