/**
 * One attempt a key at a time: a caller that comes while an attempt runs gets that attempt's result. A kubelet
 * whose call timed out repeats it, and must find the work going on instead of a reserved name.
 */
export class SingleFlight<Value> {
  readonly #running = new Map<string, Promise<Value>>();

  run(key: string, start: () => Promise<Value>): Promise<Value> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const attempt = start().finally(() => this.#running.delete(key));
    this.#running.set(key, attempt);
    return attempt;
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}
