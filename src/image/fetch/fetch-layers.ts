import { verifiedStream } from "../../content/verified-stream.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, describe, invalidArgument, kindOf } from "../../lib/errors.ts";
import { inStep } from "../../lib/step.ts";
import { chainIdsOf } from "../../oci/chain-id.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { UnpackedLayer } from "../../snapshot/snapshotter.ts";
import type { ImageDeps } from "../deps.ts";
import { allOrNone } from "./all-or-none.ts";
import { type BlobSource, openBlob } from "./blob-source.ts";
import { LayerSlots } from "./layer-slots.ts";

export interface LayersToFetch {
  readonly source: BlobSource;
  /** Lowest first, as many as diffIds. */
  readonly blobs: readonly Descriptor[];
  readonly diffIds: readonly Digest[];
  /** Gets the count of each piece of bytes that came, and of which blob; less than nothing where they were wrong. */
  readonly onBytes: (bytes: number, blob: Descriptor) => void;
}

/**
 * Makes all layers of an image be there. Fetched and unpacked at the same time, some at once, and committed from the
 * lowest upwards. On failure the others are stopped, and nothing unfinished is left. The caller holds the layers.
 */
export async function fetchLayers(
  ctx: Context,
  deps: Pick<ImageDeps, "layers" | "flights" | "parallelLayers" | "unpacking">,
  fetching: LayersToFetch,
): Promise<void> {
  if (fetching.blobs.length !== fetching.diffIds.length) {
    throw invalidArgument(
      `image has ${fetching.blobs.length} layers and ${fetching.diffIds.length} diffIDs`,
    );
  }
  for (const [i, chainId] of chainIdsOf(fetching.diffIds).entries()) {
    if (deps.layers.find(chainId) === undefined) continue;
    ctx.count?.("image.saved_bytes", fetching.blobs[i]?.sizeBytes ?? 0, "layer");
  }
  const fetch = { ...fetching, slots: new LayerSlots(deps.parallelLayers) };
  await allOrNone(ctx, fetching.blobs, (inner, _, index) => ensureLayer(inner, deps, fetch, index));
}

async function ensureLayer(
  ctx: Context,
  deps: Pick<ImageDeps, "layers" | "flights" | "unpacking">,
  fetching: LayersToFetch & { readonly slots: LayerSlots },
  index: number,
  options: { readonly retries: boolean } = { retries: true },
): Promise<void> {
  const diffIds = fetching.diffIds.slice(0, index + 1);
  const chainId = chainIdsOf(diffIds).at(-1);
  const diffId = diffIds.at(-1);
  const blob = fetching.blobs[index];
  if (chainId === undefined || diffId === undefined || blob === undefined)
    throw new TypeError("no such layer");
  if (deps.layers.find(chainId) !== undefined) {
    fetching.onBytes(blob.sizeBytes, blob);
    return;
  }
  const attempt = async (signal: AbortSignal): Promise<void> => {
    const flight = { ...ctx, signal };
    await using unpacked = await unpackBlob(flight, deps, fetching, { blob, diffId });
    if (index > 0) {
      // It is in progress, or has failed for good.
      const quiet = { ...fetching, onBytes: () => {} };
      await ensureLayer(flight, deps, quiet, index - 1, { retries: false });
    }
    await inStep(ctx, "image.commit", () => deps.layers.commit(flight, unpacked, diffIds));
  };
  const origin = "origin" in fetching.source ? fetching.source.origin : "";
  await deps.flights.run(`${chainId} ${origin}`, ctx.signal, attempt, options);
}

export interface BlobToUnpack {
  readonly blob: Descriptor;
  /** What it has to be, if that is known. */
  readonly diffId?: Digest;
  /** Makes the archive of a layer of its bytes, when they are none. */
  readonly asTar?: (bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
}

/** Unpacks the blob as a layer; again where its bytes were wrong and another host may have the right ones. */
export async function unpackBlob(
  ctx: Context,
  deps: Pick<ImageDeps, "layers" | "unpacking">,
  fetching: Pick<LayersToFetch, "source" | "onBytes"> & { readonly slots: LayerSlots },
  { blob, diffId, asTar = (bytes) => bytes }: BlobToUnpack,
): Promise<UnpackedLayer> {
  using _slot = await fetching.slots.enter(blob, ctx.signal);
  for (;;) {
    await using open = openBlob(ctx, fetching.source, blob);
    let readBytes = 0;
    const onBytes = (bytes: number) => {
      readBytes += bytes;
      fetching.onBytes(bytes, blob);
    };
    try {
      using _place = await deps.unpacking.enter(ctx.signal, open.fetched);
      const bytes = asTar(verifiedStream(open.bytes, blob, onBytes));
      const unpacked = await inStep(
        ctx,
        "image.unpack",
        () => deps.layers.unpack(ctx, bytes, fetching.source),
        { digest: blob.digest },
      );
      if (!("origin" in fetching.source)) {
        ctx.count?.("image.pulled_bytes", blob.sizeBytes, "archive");
      }
      return diffId === undefined ? unpacked : await checkDiffId(unpacked, diffId);
    } catch (cause) {
      ctx.signal.throwIfAborted();
      const isSuspect = ["data-loss", "invalid-argument"].includes(kindOf(cause));
      if (!isSuspect || !(await open.isWrong(ctx))) {
        throw new Error(`layer ${blob.digest}`, { cause });
      }
      ctx.log.warn("blob verification failed", { digest: blob.digest, err: describe(cause) });
      fetching.onBytes(-readBytes, blob);
    }
  }
}

async function checkDiffId(unpacked: UnpackedLayer, diffId: Digest): Promise<UnpackedLayer> {
  if (unpacked.diffId === diffId) return unpacked;
  await unpacked[Symbol.asyncDispose]();
  throw new AppError(`it is ${unpacked.diffId} and not ${diffId}`, { kind: "data-loss" });
}
