import type { ChainId } from "../oci/chain-id.ts";

const leaseMs = 24 * 3600_000;

/** Layers that a failed pull had completed: kept for a day, for the next attempt. A restart forgets them; their blobs are kept then. */
export class LayerLeases {
  readonly #until = new Map<ChainId, number>();

  grant(chainIds: Iterable<ChainId>, now: number = performance.now()): void {
    for (const id of chainIds) this.#until.set(id, now + leaseMs);
  }

  end(chainIds: Iterable<ChainId>): void {
    for (const id of chainIds) this.#until.delete(id);
  }

  list(): Iterable<ChainId> {
    return this.#until.keys();
  }

  /** Ends those whose time is over, and returns them. */
  expire(now: number = performance.now()): readonly ChainId[] {
    const expired = [...this.#until].filter(([, until]) => until <= now).map(([id]) => id);
    this.end(expired);
    return expired;
  }
}
