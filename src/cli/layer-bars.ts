import type { LayerProgress } from "../gen/crib/admin/v1/admin_pb.ts";
import { formatElapsed, formatSize, shortId } from "./format.ts";
import type { Output } from "./output.ts";

const barWidth = 30;
/** So that a terminal of the least height holds them; of more layers only those that come are shown. */
const maxBars = 16;
const clearBelow = "\x1b[J";

/** A bar for each layer of a pull on stderr, drawn again at each report; nothing where stderr is no terminal. Disposing removes them. */
export class LayerBars implements Disposable {
  readonly #out: Output;
  readonly #startedAt = performance.now();
  #drawn = 0;

  constructor(out: Output) {
    this.#out = out;
  }

  draw(layers: readonly LayerProgress[]): void {
    if (!this.#out.canRedraw) return;
    const lines = [...shown(layers).map(formatBar), formatTotal(layers, this.#startedAt)];
    this.#out.writeError(`${this.#home()}${lines.map((line) => `${line}\x1b[K\n`).join("")}`);
    this.#drawn = lines.length;
  }

  [Symbol.dispose](): void {
    if (this.#drawn > 0) this.#out.writeError(this.#home());
    this.#drawn = 0;
  }

  #home(): string {
    return this.#drawn === 0 ? "" : `\x1b[${this.#drawn}A\r${clearBelow}`;
  }
}

function shown(layers: readonly LayerProgress[]): readonly LayerProgress[] {
  if (layers.length <= maxBars) return layers;
  const coming = layers.filter((one) => one.fetchedBytes > 0n && one.fetchedBytes < one.totalBytes);
  return coming.slice(0, maxBars);
}

export function formatBar({ digest, fetchedBytes, totalBytes }: LayerProgress): string {
  const part = totalBytes === 0n ? 1 : Number(fetchedBytes) / Number(totalBytes);
  const full = Math.floor(part * barWidth);
  const bar = "━".repeat(full) + "╌".repeat(barWidth - full);
  const size =
    part >= 1 ? formatSize(totalBytes) : `${formatSize(fetchedBytes)} of ${formatSize(totalBytes)}`;
  return `${shortId(digest)} ${bar} ${size}`;
}

function formatTotal(layers: readonly LayerProgress[], startedAt: number): string {
  const sum = (of: (layer: LayerProgress) => bigint) =>
    layers.reduce((before, layer) => before + of(layer), 0n);
  const fetched = sum(({ fetchedBytes }) => fetchedBytes);
  const total = sum(({ totalBytes }) => totalBytes);
  const isUnpacking = fetched === total ? "unpacking" : "pulling";
  const elapsed = formatElapsed(performance.now() - startedAt);
  return `${isUnpacking} ${formatSize(fetched)} of ${formatSize(total)} ${elapsed}`;
}
