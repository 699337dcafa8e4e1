import type { NativeExpanders } from "./decompress.ts";
import { expandLayer } from "./expand-layer.ts";
import type { LayerLimits, LayerReport, TreeReport } from "./layer-report.ts";
import { LayerWriter } from "./layer-writer.ts";
import { type RecipeFiles, RecipeRecorder } from "./recipe-recorder.ts";

/**
 * Unpacks one layer, compressed or not, into "/", and writes the recipe to make its archive again. The caller's process
 * is chrooted into the layer's directory.
 */
export async function applyLayer(
  source: AsyncIterable<Uint8Array>,
  native: NativeExpanders,
  limits: LayerLimits,
  recipe: RecipeFiles,
): Promise<LayerReport> {
  const layer = new UnpackingLayer(limits, recipe);
  const expansion = await expandLayer(source, native, limits, (piece) => layer.write(piece));
  return { ...layer.finish(), ...expansion };
}

/** The same for the expanded bytes of a layer, which somebody else digests. */
export function writeLayer(
  pieces: Iterable<Uint8Array>,
  limits: LayerLimits,
  recipe: RecipeFiles,
): TreeReport {
  const layer = new UnpackingLayer(limits, recipe);
  for (const piece of pieces) layer.write(piece);
  return layer.finish();
}

class UnpackingLayer {
  readonly #writer: LayerWriter;
  readonly #recorder: RecipeRecorder;

  constructor(limits: LayerLimits, recipe: RecipeFiles) {
    this.#writer = new LayerWriter(limits, (path) => this.#recorder.keep(path));
    this.#recorder = new RecipeRecorder(this.#writer, recipe);
  }

  write(piece: Uint8Array): void {
    this.#recorder.write(piece);
  }

  finish(): TreeReport {
    this.#recorder.finish();
    return this.#writer.finish();
  }
}
