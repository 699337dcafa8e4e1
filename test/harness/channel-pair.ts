import type { Channel } from "../../src/ttrpc/channel.ts";

/** Two ends of a connection in memory. Bytes arrive in the pieces that `cut` makes of them. */
export function channelPair(
  cut: (bytes: Uint8Array) => readonly Uint8Array[] = (bytes) => [bytes],
): readonly [Channel, Channel] {
  const gone = new AbortController();
  const ends = [new End(gone, cut), new End(gone, cut)] as const;
  ends[0].peer = ends[1];
  ends[1].peer = ends[0];
  return ends;
}

class End implements Channel {
  readonly #gone: AbortController;
  readonly #cut: (bytes: Uint8Array) => readonly Uint8Array[];
  readonly #received: Uint8Array[] = [];
  #changed = Promise.withResolvers<void>();
  peer: End | undefined;

  constructor(gone: AbortController, cut: (bytes: Uint8Array) => readonly Uint8Array[]) {
    this.#gone = gone;
    this.#cut = cut;
    gone.signal.addEventListener("abort", () => this.#changed.resolve());
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const next = this.#received.shift();
      if (next !== undefined) return next;
      if (this.gone.aborted) return undefined;
      await this.#changed.promise;
      if (!this.gone.aborted) this.#changed = Promise.withResolvers();
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.gone.aborted) throw new Error("closed");
    this.peer?.take(this.#cut(bytes.slice()));
  }

  take(parts: readonly Uint8Array[]): void {
    this.#received.push(...parts);
    this.#changed.resolve();
  }

  [Symbol.dispose](): void {
    this.#gone.abort();
  }
}
