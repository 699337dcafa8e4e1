import { describe } from "../lib/errors.ts";
import { Epoll, type ReadyCallback } from "../os/epoll.ts";

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/**
 * The monitor's event loop: one thread that sleeps in epoll_wait. It is not Bun's, which would cost every monitor
 * several times the memory of all its containers. No callback's failure ends it: the other containers go on.
 */
export class Loop implements Disposable {
  readonly #epoll = new Epoll();
  readonly #timers = new Set<Timer>();
  readonly #report: (message: string) => void;
  #isRunning = false;

  constructor(report: (message: string) => void) {
    this.#report = report;
  }

  watch(fd: number, events: number, callback: ReadyCallback): void {
    this.#epoll.add(fd, events, (ready) => this.#guard(() => callback(ready)));
  }

  change(fd: number, events: number): void {
    this.#epoll.modify(fd, events);
  }

  /** Call it before the descriptor is closed. */
  unwatch(fd: number): void {
    this.#epoll.remove(fd);
  }

  /** Runs once, unless disposed before. */
  after(ms: number, run: () => void): Disposable {
    const timer: Timer = { at: performance.now() + ms, run };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
  }

  run(): void {
    this.#isRunning = true;
    while (this.#isRunning) {
      this.#guard(() => this.#epoll.wait(this.#untilNextTimer()));
      const now = performance.now();
      for (const timer of this.#timers) {
        if (timer.at > now) continue;
        this.#timers.delete(timer);
        this.#guard(timer.run);
      }
    }
  }

  stop(): void {
    this.#isRunning = false;
  }

  #untilNextTimer(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { at } of this.#timers) next = Math.min(next, at);
    if (next === Number.POSITIVE_INFINITY) return -1;
    return Math.min(Math.max(0, Math.ceil(next - performance.now())), 0x7fff_ffff);
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (err) {
      this.#report(describe(err));
    }
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }
}
