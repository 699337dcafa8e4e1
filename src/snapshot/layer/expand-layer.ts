import { AppError } from "../../lib/errors.ts";
import { decompress, type NativeExpanders } from "./decompress.ts";
import type { LayerLimits } from "./layer-report.ts";

/** Gives the expanded bytes of a layer to `take`, piece by piece. A piece is valid during the call only. */
export async function expandLayer(
  source: AsyncIterable<Uint8Array>,
  native: NativeExpanders,
  limits: LayerLimits,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  const counted = new CountedSource(source);
  let expandedBytes = 0;
  for await (const piece of decompress(counted.read(), native)) {
    expandedBytes += piece.byteLength;
    checkExpansion(expandedBytes, counted.bytes, limits);
    take(piece);
  }
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
