/** A rate over less than this says more about the scheduler than about the container. */
const leastWindowNs = 1_000_000_000n;

/**
 * CPU use between successive readings of one counter. Whoever asks more often than once a second gets the last rate
 * again, so that two clients that ask in turns do not spoil each other's rates.
 */
export class CpuRate {
  #last: { readonly usageNs: bigint; readonly atNs: bigint } | undefined;
  #nanoCores: bigint | undefined;

  /** Nanoseconds of CPU time a second; `undefined` until there are two readings. `atNs` is of a clock that nobody sets. */
  next(usageNs: bigint, atNs: bigint): bigint | undefined {
    const last = this.#last;
    if (last === undefined || usageNs < last.usageNs) {
      this.#last = { usageNs, atNs };
      this.#nanoCores = undefined;
    } else if (atNs - last.atNs >= leastWindowNs) {
      this.#nanoCores = ((usageNs - last.usageNs) * 1_000_000_000n) / (atNs - last.atNs);
      this.#last = { usageNs, atNs };
    }
    return this.#nanoCores;
  }
}
