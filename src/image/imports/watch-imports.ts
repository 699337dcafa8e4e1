import { type FSWatcher, mkdirSync, watch } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { Scan } from "./import-directory.ts";

const usualTimes = {
  /** After a change, and while something is unsettled. */
  soonMs: 2000,
  maxRetryMs: 600_000,
  /** Where changes are not reported: a network file system, a symbolic link's target. */
  idleMs: 120_000,
};

/**
 * Looks at `directory` now and whenever something in it changes, until the context ends: one look at a time. What failed
 * is tried again later and later, ten minutes at most.
 */
export async function watchImports(
  ctx: Context,
  directory: string,
  scan: (look: { readonly isFirst: boolean }) => Promise<Scan>,
  { soonMs, maxRetryMs, idleMs } = usualTimes,
): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const bell = new Bell(ctx.signal);
  using _watcher = watchDirectory(ctx, directory, () => bell.ring());
  let retryMs = soonMs;
  for (let isFirst = true; !ctx.signal.aborted; isFirst = false) {
    const isUnsettled = await scan({ isFirst }).then(
      (found) => found.isUnsettled,
      (err) => {
        if (!ctx.signal.aborted) ctx.log.error("import directory not read", { err: describe(err) });
        return true;
      },
    );
    const wasRung = await bell.wait(isUnsettled ? retryMs : idleMs);
    if (wasRung) await bell.pause(soonMs);
    retryMs = isUnsettled && !wasRung ? Math.min(retryMs * 2, maxRetryMs) : soonMs;
  }
}

function watchDirectory(ctx: Context, directory: string, onChange: () => void): Disposable {
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(directory, { persistent: false }, (_event, name) => {
      if (name?.startsWith(".") !== true) onChange();
    });
    watcher.on("error", (err) =>
      ctx.log.warn("import directory not watched", { err: describe(err) }),
    );
  } catch (err) {
    ctx.log.warn("import directory not watched", { err: describe(err) });
  }
  return { [Symbol.dispose]: () => watcher?.close() };
}

/** Something to sleep by. A ring that nobody waits for is kept. */
class Bell {
  readonly #signal: AbortSignal;
  #isRung = false;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
  }

  ring(): void {
    this.#isRung = true;
    this.#wake?.();
  }

  /** Whether it was rung before the time was over. */
  async wait(ms: number): Promise<boolean> {
    if (!this.#isRung) await this.#sleep(ms);
    const wasRung = this.#isRung;
    this.#isRung = false;
    return wasRung;
  }

  /** Sleeps through rings, and forgets them: what they were about is looked at next. */
  async pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (performance.now() < until && !this.#signal.aborted) {
      await this.#sleep(until - performance.now());
    }
    this.#isRung = false;
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    timer.unref();
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
    clearTimeout(timer);
  }
}
