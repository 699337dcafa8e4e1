import { abortable } from "../../lib/abortable.ts";
import { AppError } from "../../lib/errors.ts";
import type { PodEvent } from "./events.ts";

/** What one subscriber has not taken yet. */
export class Subscription {
  readonly #maxBacklog: number;
  readonly #backlog: PodEvent[] = [];
  #isCutOff = false;
  #changed = Promise.withResolvers<void>();

  constructor(maxBacklog: number) {
    this.#maxBacklog = maxBacklog;
  }

  /** False: there is no room for it, and there never will be again. */
  add(event: PodEvent): boolean {
    this.#isCutOff = this.#backlog.length >= this.#maxBacklog;
    if (this.#isCutOff) this.#backlog.length = 0;
    else this.#backlog.push(event);
    this.#changed.resolve();
    return !this.#isCutOff;
  }

  /** Ends, without an error, when `end` aborts. */
  async *events(end: AbortSignal, leave: () => void): AsyncGenerator<PodEvent, void> {
    try {
      while (!end.aborted) {
        if (this.#isCutOff) {
          throw new AppError(`a subscriber was ${this.#maxBacklog} events behind`, {
            kind: "resource-exhausted",
          });
        }
        this.#changed = Promise.withResolvers();
        for (
          let event = this.#backlog.shift();
          event !== undefined;
          event = this.#backlog.shift()
        ) {
          yield event;
        }
        await this.#next(end);
      }
    } finally {
      leave();
    }
  }

  async #next(end: AbortSignal): Promise<void> {
    try {
      if (this.#backlog.length === 0 && !this.#isCutOff)
        await abortable(this.#changed.promise, end);
    } catch {
      // The end: the loop sees it.
    }
  }
}
