/** At most `burst` lines at once and `perSecond` after that; those that were left out are counted. */
export class LogLimit {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #clock: () => number;
  #tokens: number;
  #at: number;
  #leftOut = 0;

  /** `clock` counts milliseconds and never goes back. */
  constructor(
    { burst, perSecond }: { readonly burst: number; readonly perSecond: number },
    clock: () => number = () => performance.now(),
  ) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#tokens = burst;
    this.#at = clock();
  }

  /** How many lines were left out since the last one that was not; `undefined` if this one is to be left out too. */
  admit(): number | undefined {
    const now = this.#clock();
    this.#tokens = Math.min(
      this.#burst,
      this.#tokens + ((now - this.#at) / 1000) * this.#perSecond,
    );
    this.#at = now;
    if (this.#tokens < 1) {
      this.#leftOut++;
      return undefined;
    }
    this.#tokens--;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}
