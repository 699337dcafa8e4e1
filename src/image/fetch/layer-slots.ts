import type { Descriptor } from "../../oci/descriptor.ts";
import { Limiter } from "./limiter.ts";

/** What comes of a layer under this size is mostly waiting for it. */
const smallBytes = 1 << 20;
/** So many small layers come in the place of a large one. */
const smallPerLarge = 4;

/** How many layers of one image come at the same time. */
export class LayerSlots {
  readonly #small: Limiter;
  readonly #large: Limiter;

  constructor(size: number) {
    this.#small = new Limiter(size * smallPerLarge);
    this.#large = new Limiter(size);
  }

  async enter({ sizeBytes }: Descriptor, signal: AbortSignal): Promise<Disposable> {
    return await (sizeBytes < smallBytes ? this.#small : this.#large).enter(signal);
  }
}
