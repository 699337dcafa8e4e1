import { AppError } from "../../lib/errors.ts";
import { decompress, type NativeDecompressors } from "./decompress.ts";
import type { LayerLimits } from "./layer-report.ts";

/** Gives the decompressed bytes of a layer to `take`, piece by piece. A piece is valid during the call only. */
export async function decompressLayer(
  source: AsyncIterable<Uint8Array>,
  native: NativeDecompressors,
  limits: LayerLimits,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  let uncompressedBytes = 0;
  for await (const piece of decompress(source, native)) {
    uncompressedBytes += piece.byteLength;
    if (uncompressedBytes > limits.uncompressedBytes) {
      throw new AppError(
        `over ${limits.uncompressedBytes} bytes, the limit of images.max_layer_bytes`,
        {
          kind: "resource-exhausted",
        },
      );
    }
    take(piece);
  }
}
