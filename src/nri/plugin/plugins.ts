import type { Agreement } from "../../container/plugins.ts";
import type { Context } from "../../lib/context.ts";
import { KeyedMutex } from "../../lib/keyed-mutex.ts";
import { Agreements } from "../agreements.ts";
import type { Plugin } from "./plugin.ts";

/**
 * The plugins that are connected, in their order. One event at a time is relayed, each to all of them, and a plugin is
 * synchronized between events: it learns of everything that is there, and of every event after that.
 */
export class Plugins {
  #plugins: readonly Plugin[] = [];
  readonly #turns = new KeyedMutex<"turn">();
  readonly #agreements: Agreements;

  constructor(agreements = new Agreements()) {
    this.#agreements = agreements;
  }

  /** Whether there is nobody to tell, and nobody about to come. */
  get isIdle(): boolean {
    return this.#plugins.length === 0 && this.#turns.size === 0;
  }

  /** Runs with the plugins as they are then, after all that was asked for before. */
  async inTurn<T>(ctx: Context, run: (plugins: readonly Plugin[]) => Promise<T>): Promise<T> {
    using _turn = await this.#turns.lock("turn", ctx.signal);
    return await run(this.#plugins);
  }

  /** A new plugin, when `synchronize` has sent it everything: nothing is agreed to that is not recorded then. */
  async add<T>(ctx: Context, plugin: Plugin, synchronize: () => Promise<T>): Promise<T> {
    using _turn = await this.#quietTurn(ctx);
    const result = await synchronize();
    this.#plugins = [...this.#plugins, plugin].sort((a, b) => (a.title < b.title ? -1 : 1));
    plugin.gone.addEventListener("abort", () => this.#drop(plugin), { once: true });
    if (plugin.gone.aborted) this.#drop(plugin);
    return result;
  }

  /** Keeps new plugins waiting until it is disposed of. */
  agree(): Agreement {
    return this.#agreements.agree();
  }

  /** Without an agreement. Who holds one may be waiting for a turn: nobody waits for it while having the turn. */
  async #quietTurn({ signal }: Context): Promise<Disposable> {
    for (;;) {
      await this.#agreements.empty(signal);
      const turn = await this.#turns.lock("turn", signal);
      if (this.#agreements.isEmpty) return turn;
      turn[Symbol.dispose]();
    }
  }

  #drop(plugin: Plugin): void {
    this.#plugins = this.#plugins.filter((other) => other !== plugin);
  }
}
