import { AppError } from "../lib/errors.ts";

/** Aborts when nothing has happened for so long. */
export class IdleWatch implements Disposable {
  readonly #expired = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #lastAt = performance.now();

  constructor(idleMs: number) {
    this.#timer = setInterval(
      () => {
        if (performance.now() - this.#lastAt < idleMs) return;
        const message = `nothing happened for ${Math.round(idleMs / 1000)} seconds`;
        this.#expired.abort(new AppError(message, { kind: "deadline-exceeded" }));
      },
      Math.max(10, idleMs / 20),
    );
  }

  get expired(): AbortSignal {
    return this.#expired.signal;
  }

  touch(): void {
    this.#lastAt = performance.now();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
