import type { ChainId } from "../oci/chain-id.ts";

/** Layers that must not be removed, by how many hold each. */
export class LayerHolds {
  readonly #counts = new Map<ChainId, number>();

  /** Until disposed; be they there already or come later. */
  hold(chainIds: readonly ChainId[]): Disposable {
    const held = [...chainIds];
    for (const id of held) this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const id of held.splice(0)) this.#release(id);
      },
    };
  }

  list(): Iterable<ChainId> {
    return this.#counts.keys();
  }

  #release(id: ChainId): void {
    const left = (this.#counts.get(id) ?? 1) - 1;
    if (left === 0) this.#counts.delete(id);
    else this.#counts.set(id, left);
  }
}
