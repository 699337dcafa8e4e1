import { AppError } from "../lib/errors.ts";
import type { Digest } from "../oci/digest.ts";
import { decompress } from "./decompress.ts";
import type { LayerLimits, LayerReport } from "./layer-report.ts";
import { LayerWriter } from "./layer-writer.ts";
import { type RecipeFiles, RecipeRecorder } from "./recipe-recorder.ts";

/**
 * Unpacks one layer, compressed or not, into "/", and digests the expanded bytes on the way (all of them, also what
 * comes after the end of the archive), and writes the recipe to make the archive again. The caller's process is chrooted
 * into the layer's directory.
 */
export async function applyLayer(
  source: AsyncIterable<Uint8Array>,
  limits: LayerLimits,
  recipe: RecipeFiles,
): Promise<LayerReport> {
  const writer: LayerWriter = new LayerWriter(limits, (path) => recorder.keep(path));
  const recorder = new RecipeRecorder(writer, recipe);
  const hash = new Bun.CryptoHasher("sha256");
  const counted = new CountedSource(source);
  let expandedBytes = 0;
  for await (const chunk of decompress(counted.read())) {
    expandedBytes += chunk.byteLength;
    checkExpansion(expandedBytes, counted.bytes, limits);
    hash.update(chunk);
    recorder.write(chunk);
  }
  const recipeBytes = recorder.finish();
  const diffId = `sha256:${hash.digest("hex")}` as Digest;
  const tree = writer.finish();
  return { ...tree, sizeBytes: tree.sizeBytes + recipeBytes, diffId, expandedBytes };
}

function checkExpansion(expanded: number, compressed: number, limits: LayerLimits): void {
  const isBomb = expanded > limits.ratioFromBytes && expanded > compressed * limits.ratio;
  if (expanded <= limits.expandedBytes && !isBomb) return;
  throw new AppError(`expands to over ${expanded} bytes from ${compressed}`, {
    kind: "resource-exhausted",
  });
}

class CountedSource {
  bytes = 0;
  readonly #source: AsyncIterable<Uint8Array>;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#source) {
      this.bytes += chunk.byteLength;
      yield chunk;
    }
  }
}
