import { abortable } from "../lib/abortable.ts";

const burstMs = 250;

/** A token bucket that all downloads share: each byte costs its time, and a quarter of a second may be made good. */
export class Bandwidth {
  #bytesPerMs = 0;
  /** When all that has been taken is paid for. */
  #paidAt = 0;

  /** 0 is no limit. */
  constructor(bytesPerSecond: number) {
    this.setRate(bytesPerSecond);
  }

  /** For what comes from now on; 0 is no limit. */
  setRate(bytesPerSecond: number): void {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Waits until `bytes` that have come are paid for; who does not read on meanwhile slows the sender down. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerMs === 0) return;
    const now = performance.now();
    this.#paidAt = Math.max(this.#paidAt, now - burstMs) + bytes / this.#bytesPerMs;
    if (this.#paidAt > now) await abortable(Bun.sleep(this.#paidAt - now), signal);
  }
}
