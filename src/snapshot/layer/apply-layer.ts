import { Digester } from "../../oci/digest.ts";
import { type RecipeFiles, RecipeRecorder } from "../recipe/recipe-recorder.ts";
import type { NativeDecompressors } from "./decompress.ts";
import { decompressLayer } from "./decompress-layer.ts";
import type { LayerLimits, LayerReport } from "./layer-report.ts";
import { LayerWriter } from "./layer-writer.ts";

/**
 * Unpacks one layer, compressed or not, into "/", and writes the recipe to make its archive again. The caller's process
 * is chrooted into the layer's directory.
 */
export async function applyLayer(
  source: AsyncIterable<Uint8Array>,
  native: NativeDecompressors,
  limits: LayerLimits,
  recipe: RecipeFiles,
): Promise<LayerReport> {
  const layer = new UnpackingLayer(limits, recipe);
  await decompressLayer(source, native, limits, (piece) => layer.write(piece));
  return layer.finish();
}

/** The same for what somebody else decompresses. */
export function writeLayer(
  pieces: Iterable<Uint8Array>,
  limits: LayerLimits,
  recipe: RecipeFiles,
): LayerReport {
  const layer = new UnpackingLayer(limits, recipe);
  for (const piece of pieces) layer.write(piece);
  return layer.finish();
}

/** Digests all of the bytes, also what comes after the end of the archive. */
class UnpackingLayer {
  readonly #hash = new Digester();
  readonly #writer: LayerWriter;
  readonly #recorder: RecipeRecorder;
  #uncompressedBytes = 0;

  constructor(limits: LayerLimits, recipe: RecipeFiles) {
    this.#writer = new LayerWriter(limits, (path) => this.#recorder.keep(path));
    this.#recorder = new RecipeRecorder(this.#writer, recipe);
  }

  write(piece: Uint8Array): void {
    this.#hash.update(piece);
    this.#uncompressedBytes += piece.byteLength;
    this.#recorder.write(piece);
  }

  finish(): LayerReport {
    this.#recorder.finish();
    const diffId = this.#hash.digest();
    return { ...this.#writer.finish(), diffId, uncompressedBytes: this.#uncompressedBytes };
  }
}
