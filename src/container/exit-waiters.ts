import { abortable } from "../lib/abortable.ts";
import type { ContainerId } from "../lib/id.ts";

/** Who waits for a container to end. A wait that never ends costs nothing once its signal has aborted. */
export class ExitWaiters {
  readonly #waiting = new Map<ContainerId, PromiseWithResolvers<void>>();

  /** Settles at the next `notify` of this container, or throws the signal's reason. */
  wait(id: ContainerId, signal: AbortSignal): Promise<void> {
    let exit = this.#waiting.get(id);
    if (exit === undefined) {
      exit = Promise.withResolvers();
      this.#waiting.set(id, exit);
    }
    return abortable(exit.promise, signal);
  }

  notify(id: ContainerId): void {
    this.#waiting.get(id)?.resolve();
    this.#waiting.delete(id);
  }
}
