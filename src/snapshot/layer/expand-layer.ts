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
  let expandedBytes = 0;
  for await (const piece of decompress(source, native)) {
    expandedBytes += piece.byteLength;
    if (expandedBytes > limits.expandedBytes) {
      throw new AppError(
        `over ${limits.expandedBytes} bytes, the limit of images.max_layer_bytes`,
        {
          kind: "resource-exhausted",
        },
      );
    }
    take(piece);
  }
}
