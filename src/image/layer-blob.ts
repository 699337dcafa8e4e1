import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ChainId } from "../oci/chain-id.ts";
import type { ByteRange } from "../oci/descriptor.ts";
import { type Digest, Digester } from "../oci/digest.ts";
import type { LayerStore } from "../snapshot/snapshotter.ts";

/** A layer as a blob: what a manifest says of it, and its bytes. */
export interface LayerBlob {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly read: () => AsyncIterable<Uint8Array>;
  /** Part of it, not verified; absent where it is made while it is read. */
  readonly readRange?: (range: ByteRange) => AsyncIterable<Uint8Array>;
}

const tarType = "application/vnd.oci.image.layer.v1.tar";
const level = 3;
/** Long enough for the ratio, short enough to be compressed while others are read. */
const frameBytes = 8 << 20;

/**
 * The layer as an uncompressed blob, whose digest is the diffID; or compressed, which reads it once for digest and size and
 * again for the bytes, so that nothing is kept aside.
 */
export async function openLayerBlob(
  ctx: Context,
  layers: Pick<LayerStore, "find" | "readTar">,
  chainId: ChainId,
  compress: boolean,
): Promise<LayerBlob> {
  const layer = layers.find(chainId);
  if (layer?.tarBytes === undefined) {
    throw failedPrecondition(
      `layer ${layer?.diffId ?? chainId} cannot be made again: remove its image and pull it`,
    );
  }
  const readPlain = () => layers.readTar(ctx, chainId);
  if (!compress) {
    return { mediaType: tarType, digest: layer.diffId, sizeBytes: layer.tarBytes, read: readPlain };
  }
  const read = () => compressFrames(readPlain());
  const hash = new Digester();
  let sizeBytes = 0;
  for await (const frame of read()) {
    hash.update(frame);
    sizeBytes += frame.byteLength;
  }
  const digest = hash.digest();
  return { mediaType: `${tarType}+zstd`, digest, sizeBytes, read };
}

/**
 * zstd frames of the same lengths whatever the pieces are, so that the same bytes come out each time. One is compressed
 * while the next is read.
 */
async function* compressFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let pending: Promise<Uint8Array> | undefined;
  for await (const frame of inFrames(source)) {
    const compressing = Bun.zstdCompress(frame, { level });
    compressing.catch(() => {});
    if (pending !== undefined) yield await pending;
    pending = compressing;
  }
  if (pending !== undefined) yield await pending;
}

async function* inFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let frame = Buffer.allocUnsafe(frameBytes);
  let length = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + frameBytes - length);
      frame.set(piece, length);
      length += piece.byteLength;
      at += piece.byteLength;
      if (length < frameBytes) continue;
      yield frame;
      frame = Buffer.allocUnsafe(frameBytes);
      length = 0;
    }
  }
  if (length > 0) yield frame.subarray(0, length);
}
