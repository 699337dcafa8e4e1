import { abortable } from "../../lib/abortable.ts";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { asArray } from "../../lib/json.ts";
import { readKernelFile } from "../../os/file/kernel-file.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { roleArgv } from "../../os/process/role.ts";
import { type InterfaceCounters, parseInterfaces } from "./interfaces.ts";
import { takeFromChild } from "./take-from-child.ts";

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
    const paths = batch.map(([, path]) => path);
    try {
      await takeFromChild(ctx, this.#argv, paths, (response, descriptor) => {
        const responses = readResponses(response, batch.length);
        for (const [i, [id]] of batch.entries()) {
          const found = responses[i];
          if (typeof found === "number") this.#open.set(id, descriptor(found));
          else ctx.log.debug("network counters not opened", { sandbox: id, err: String(found) });
        }
      });
    } catch (cause) {
      throw new Error("open network counters", { cause });
    }
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#open.keys()]) this.forget(id);
  }
}

function readResponses(value: unknown, count: number): readonly unknown[] {
  const responses = asArray(value, "counters");
  if (responses.length === count) return responses;
  throw new AppError(`${responses.length} descriptors for ${count} namespaces`, {
    kind: "internal",
  });
}
