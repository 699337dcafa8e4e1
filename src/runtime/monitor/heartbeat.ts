const beatMs = 5000;
/**
 * Beats in a row without a response. A disk that is busy (an SD card that writes back) holds a monitor in a write for
 * many seconds, and to kill it costs: who is attached is cut off, and what is being created fails.
 */
const maxMissed = 6;

/**
 * Asks a monitor now and then whether it is there, and calls `onStuck` once when it no longer responds: it was stopped
 * by a signal, or is in a call that does not return. Beats are counted and not time, so that after the node slept, or
 * this process was stopped itself, the monitor has its turn before it is judged.
 */
export class Heartbeat implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;
  #isAsked = false;
  #missed = 0;

  constructor(ask: () => Promise<unknown>, onStuck: () => void) {
    this.#timer = setInterval(() => {
      if (this.#isAsked) {
        this.#missed++;
        if (this.#missed < maxMissed) return;
        this[Symbol.dispose]();
        onStuck();
        return;
      }
      this.#isAsked = true;
      this.#missed = 0;
      const responded = () => {
        this.#isAsked = false;
      };
      // A refusal is a response. When the connection ends, so does this.
      ask().then(responded, responded);
    }, beatMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
