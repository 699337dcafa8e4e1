import type { ConnectionBudget } from "../../registry/download.ts";
import { Limiter } from "./limiter.ts";

/** Downloads from one registry at the same time; more would only share its bandwidth in smaller parts. */
const perRegistry = 12;
/** Further connections for large blobs, of all pulls together. */
const extra = 8;

/** What all pulls together may take of the network. */
export class Connections implements ConnectionBudget {
  readonly #byRegistry = new Map<string, Limiter>();
  readonly #extra = new Limiter(extra);
  #waiting = 0;

  async enter(registry: string, signal: AbortSignal): Promise<Disposable> {
    const limiter = this.#byRegistry.get(registry) ?? new Limiter(perRegistry);
    this.#byRegistry.set(registry, limiter);
    this.#waiting++;
    try {
      return await limiter.enter(signal);
    } finally {
      this.#waiting--;
    }
  }

  tryEnterExtra(): Disposable | undefined {
    return this.isCrowded ? undefined : this.#extra.tryEnter();
  }

  get waiting(): number {
    return this.#waiting;
  }

  get isCrowded(): boolean {
    return this.#waiting > 0;
  }
}
