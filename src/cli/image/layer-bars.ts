import type { LayerProgress } from "../../gen/crib/admin/v1/admin_pb.ts";
import { formatElapsed, formatSize, shortId } from "../output/format.ts";
import type { Output } from "../output/output.ts";
import { Repaint } from "../output/repaint.ts";

const barWidth = 30;
/** So that a terminal of the least height holds them; of more layers only those that come are shown. */
const maxBars = 16;

/** A bar for each layer of a pull on stderr, drawn again at each report; nothing where stderr is no terminal. Disposing removes them. */
export class LayerBars implements Disposable {
  readonly #canRedraw: boolean;
  readonly #repaint: Repaint;
  readonly #startedAt = performance.now();

  constructor(out: Output) {
    this.#canRedraw = out.canRedraw;
    this.#repaint = new Repaint((text) => out.writeError(text));
  }

  draw(layers: readonly LayerProgress[]): void {
    if (!this.#canRedraw) return;
    this.#repaint.draw([...shown(layers).map(formatBar), formatTotal(layers, this.#startedAt)]);
  }

  [Symbol.dispose](): void {
    this.#repaint.clear();
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
