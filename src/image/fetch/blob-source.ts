import type { Context } from "../../lib/context.ts";
import type { Descriptor } from "../../oci/descriptor.ts";

/** Where the bytes of blobs come from: an archive, or a registry. Whoever reads them verifies them. */
export type BlobSource = ReadyBlobs | ComingBlobs;

/** Blobs that are at hand, and that nobody else has. */
export interface ReadyBlobs {
  readBlob(ctx: Context, blob: Descriptor): AsyncIterable<Uint8Array>;
}

/** Blobs that have to be fetched, perhaps from several places. */
export interface ComingBlobs {
  /** Pulls from the same origin share what they fetch. Others do not: an origin that stalls holds up its own only. */
  readonly origin: string;
  openBlob(ctx: Context, blob: Descriptor): OpenBlob;
  /** No further attempt will need what there is of these blobs. */
  forget(blobs: readonly Descriptor[]): void;
}

/** One reading of a blob. Disposing it gives up on what has not come. */
export interface OpenBlob extends AsyncDisposable {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Resolves when reading waits for nobody any more. */
  readonly fetched: Promise<void>;
  /** Asked when the bytes were of no use: whether they were wrong, and there is somewhere else to have them from. */
  isWrong(ctx: Context): Promise<boolean>;
}

export function openBlob(ctx: Context, source: BlobSource, blob: Descriptor): OpenBlob {
  if ("openBlob" in source) return source.openBlob(ctx, blob);
  return {
    bytes: source.readBlob(ctx, blob),
    fetched: Promise.resolve(),
    isWrong: async () => false,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** No further attempt will need them, wherever they come from. */
export function forgetBlobs(source: BlobSource, blobs: readonly Descriptor[]): void {
  if ("forget" in source) source.forget(blobs);
}
