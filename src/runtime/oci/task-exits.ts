import { abortable } from "../../lib/abortable.ts";
import { AppError } from "../../lib/errors.ts";
import type { TaskExit } from "../runtime.ts";

/** How tasks ended, as their monitors report it, for whoever waits now or later. */
export class TaskExits {
  readonly #ends = new Map<string, PromiseWithResolvers<TaskExit>>();

  /** Idempotent: the first report of an end stands. */
  report(id: string, exit: TaskExit): void {
    this.#endOf(id).resolve(exit);
  }

  wait(id: string, signal: AbortSignal | undefined): Promise<TaskExit> {
    return abortable(this.#endOf(id).promise, signal);
  }

  /** Those who still wait learn that nothing comes any more. Idempotent. */
  forget(id: string): void {
    this.#ends.get(id)?.reject(new AppError(`task ${id} was removed`, { kind: "aborted" }));
    this.#ends.delete(id);
  }

  #endOf(id: string): PromiseWithResolvers<TaskExit> {
    const known = this.#ends.get(id);
    if (known !== undefined) return known;
    const end = Promise.withResolvers<TaskExit>();
    end.promise.catch(() => {}); // those who wait get it
    this.#ends.set(id, end);
    return end;
  }
}
