import type { Agreement } from "../container/plugins.ts";
import { abortable } from "../lib/abortable.ts";

/** What has been agreed to and is not recorded yet. */
export class Agreements {
  #held = 0;
  #none = Promise.withResolvers<void>();

  agree(): Agreement {
    this.#held += 1;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#held -= 1;
        if (this.#held > 0) return;
        this.#none.resolve();
        this.#none = Promise.withResolvers();
      },
    };
  }

  get isEmpty(): boolean {
    return this.#held === 0;
  }

  /** Resolves when nothing is held, for a moment at least. */
  async empty(signal: AbortSignal): Promise<void> {
    while (!this.isEmpty) await abortable(this.#none.promise, signal);
  }
}
