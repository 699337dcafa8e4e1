import { type Context, withTimeout } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { asArray, parseJson } from "../../lib/json.ts";
import { abortable } from "../../lib/keyed-mutex.ts";
import { readKernelFile } from "../../os/file/kernel-file.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { ownChild } from "../../os/process/own-child.ts";
import { pidfdGetfd, pidfdOpen } from "../../os/process/pidfd.ts";
import { childEnv, roleArgv } from "../../os/process/role.ts";
import { type InterfaceCounters, parseInterfaces } from "./interfaces.ts";

const openTimeoutMs = 10_000;
// An answer is a dozen bytes for each namespace, or one line of text.
const maxAnswerBytes = 1 << 20;
// In one child; the paths go through one pipe.
const maxBatch = 500;

/**
 * Interface counters of pods. A child goes into the namespaces that are new to us, once, and leaves us a descriptor
 * of each one's counters; a reading is then one pread(2), whether or not any process is in the pod.
 */
export class NetworkCounters implements Disposable {
  readonly #argv: readonly string[];
  readonly #open = new Map<string, OwnedFd>();
  #opening: Promise<void> = Promise.resolve();

  constructor(argv: readonly string[] = roleArgv("counters")) {
    this.#argv = argv;
  }

  /** Makes `read` work for these: the path of its namespace for each sandbox. What cannot be opened is logged and left out. */
  async open(ctx: Context, namespaces: ReadonlyMap<string, string>): Promise<void> {
    if ([...namespaces.keys()].every((id) => this.#open.has(id))) return;
    const turn = this.#opening.then(async () => {
      const missing = [...namespaces].filter(([id]) => !this.#open.has(id));
      for (let at = 0; at < missing.length; at += maxBatch) {
        await this.#openBatch(ctx, missing.slice(at, at + maxBatch));
      }
    });
    this.#opening = turn.catch(() => {});
    await abortable(turn, ctx.signal);
  }

  /** Of all interfaces, the loopback one too; `undefined` for a sandbox that was not opened. */
  read(sandbox: string): readonly InterfaceCounters[] | undefined {
    const counters = this.#open.get(sandbox);
    return counters === undefined ? undefined : parseInterfaces(readKernelFile(counters.fd));
  }

  /** Lets go of the namespace: an open descriptor keeps it alive. Idempotent. */
  forget(sandbox: string): void {
    this.#open.get(sandbox)?.[Symbol.dispose]();
    this.#open.delete(sandbox);
  }

  async #openBatch(ctx: Context, batch: readonly (readonly [string, string])[]): Promise<void> {
    const { signal } = withTimeout(ctx, openTimeoutMs);
    const child = ownChild(
      Bun.spawn([...this.#argv], {
        cwd: "/",
        env: { ...childEnv },
        stdin: Buffer.from(JSON.stringify(batch.map(([, path]) => path))),
        stdout: "pipe",
        stderr: "ignore",
      }),
    );
    try {
      using pidfd = pidfdOpen(child.pid);
      const answers = readAnswers(await abortable(collect(child.stdout), signal), batch.length);
      for (const [i, [id]] of batch.entries()) {
        const answer = answers[i];
        if (typeof answer === "number") this.#open.set(id, pidfdGetfd(pidfd.fd, answer));
        else ctx.log.debug("open network counters", { sandbox: id, err: String(answer) });
      }
    } catch (cause) {
      throw new Error("open network counters", { cause });
    } finally {
      child.kill("SIGKILL");
    }
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#open.keys()]) this.forget(id);
  }
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (size > maxAnswerBytes) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function readAnswers(text: Buffer, count: number): readonly unknown[] {
  const answers = asArray(parseJson(text, "counters", { maxBytes: maxAnswerBytes }), "counters");
  if (answers.length === count) return answers;
  throw new AppError(`${answers.length} descriptors for ${count} namespaces`, { kind: "internal" });
}
