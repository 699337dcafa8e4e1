import type { Subprocess } from "bun";
import { AppError } from "../../lib/errors.ts";
import { ownChild } from "../../os/process/own-child.ts";
import type { UnpackArgv } from "./unpack-child.ts";
import { unpackEnv } from "./unpack-env.ts";
import { readFailure } from "./unpack-process.ts";

/** What it returns; a failure is JSON and begins with another byte. */
const dot = 0x2e;

/**
 * A child that waits for the disk when it is asked to (`crib unpack sync`). It holds the file system open, so that it
 * learns of every write that failed since it was started.
 */
export class Flusher implements Disposable {
  readonly #child: Subprocess<"pipe", "pipe", "ignore">;
  readonly #waiting: PromiseWithResolvers<void>[] = [];
  #failure: Error | undefined;

  constructor(argv: UnpackArgv, directory: string) {
    this.#child = ownChild(
      Bun.spawn([...argv("sync", directory)], {
        cwd: "/",
        env: { ...unpackEnv },
        stdio: ["pipe", "pipe", "ignore"],
      }),
    );
    void this.#listen();
  }

  /** Whether it hangs in the disk right now. */
  get isBusy(): boolean {
    return this.#waiting.length > 0;
  }

  /** All that was written before the call is on the disk. */
  flush(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const request = Promise.withResolvers<void>();
    this.#waiting.push(request);
    this.#child.stdin.write(".");
    // A child that has ended says so on its stdout.
    Promise.resolve(this.#child.stdin.flush()).catch(() => {});
    return request.promise;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }

  async #listen(): Promise<void> {
    let failure = Buffer.alloc(0);
    for await (const response of this.#child.stdout) {
      for (const [i, byte] of response.entries()) {
        if (byte !== dot) {
          failure = Buffer.concat([failure, response.subarray(i)]);
          break;
        }
        this.#waiting.shift()?.resolve();
      }
    }
    this.#failure =
      readFailure(failure) ?? new AppError("the child that syncs is gone", { kind: "internal" });
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
