import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { type Manifest, parseManifest } from "../oci/manifest.ts";
import type { ImageDeps } from "./deps.ts";
import type { ReadyBlobs } from "./fetch/blob-source.ts";
import type { FoundImage } from "./found-image.ts";
import type { ImageRecord } from "./image-record.ts";
import type { LayerBlob } from "./layer-blob.ts";
import { originalsOf } from "./originals.ts";

/** An image as its registry has it: nothing made anew, every digest the original one. */
export interface KeptImage {
  /** Outermost first: an index perhaps, and the manifest. */
  readonly documents: readonly Uint8Array[];
  readonly layers: readonly LayerBlob[];
}

/** The image by the documents that it was pulled by under `name`; undefined unless all layers that these name are kept. */
export function findKeptImage(
  ctx: Context,
  deps: Pick<ImageDeps, "content" | "kept">,
  record: ImageRecord,
  name: string,
): KeptImage | undefined {
  if (!deps.kept.isOn) return undefined;
  const documents = originalsOf(deps, record, name);
  const layers = layersOf(documents).flatMap((layer) => openKeptLayer(ctx, deps, layer) ?? []);
  const isComplete = documents.length > 0 && layers.length === layersOf(documents).length;
  return isComplete ? { documents, layers } : undefined;
}

/** A kept layer, named as the descriptor has it. */
export function openKeptLayer(
  ctx: Context,
  { kept }: Pick<ImageDeps, "kept">,
  { mediaType, digest }: Pick<Descriptor, "mediaType" | "digest">,
): LayerBlob | undefined {
  const found = kept.find(digest);
  if (found === undefined) return undefined;
  return {
    mediaType,
    digest,
    sizeBytes: found.sizeBytes,
    read: () => kept.read(ctx, digest),
    readRange: (range) => kept.read(ctx, digest, range),
  };
}

/** Keeps what came of the image's layers, as far as its own manifest names them. Where that fails, the image does without. */
export async function keepLayers(
  ctx: Context,
  { kept, ingests }: Pick<ImageDeps, "kept" | "ingests">,
  { source, manifests, layers }: Pick<FoundImage, "source" | "manifests" | "layers">,
): Promise<void> {
  if (!kept.isOn || !("origin" in source)) return;
  const { origin } = source;
  // A peer may have given them in another form.
  const named = new Set(layersOf(manifests).map(({ digest }) => digest));
  for (const blob of layers) {
    if (!named.has(blob.digest)) continue;
    try {
      await using lease = ingests.open({ ...blob, origin });
      if (lease.ingest.gaps().length === 0) await kept.add(ctx, blob.digest, lease.ingest);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn("compressed layer not retained", { digest: blob.digest, err: describe(err) });
    }
  }
}

/** Frees what none of the images names that are there. */
export function releaseLayers(
  deps: Pick<ImageDeps, "content" | "kept">,
  digests: Iterable<Digest>,
  records: readonly ImageRecord[],
): void {
  if (!deps.kept.isOn) return;
  const named = new Set(records.flatMap((record) => keepableOf(deps, record)));
  for (const digest of digests) if (!named.has(digest)) deps.kept.remove(digest);
}

/** All layers that the image's manifests name, kept or not. */
export function keepableOf(
  { content }: { readonly content: Pick<ImageDeps["content"], "get"> },
  { manifestDigests }: ImageRecord,
): readonly Digest[] {
  return manifestDigests.flatMap((digest) => {
    try {
      return layersOf([content.get(digest)]).map((layer) => layer.digest);
    } catch {
      // Damaged, which is for verify to say.
      return [];
    }
  });
}

/** The kept layers as a source. */
export function keptSource({ kept }: Pick<ImageDeps, "kept">): ReadyBlobs {
  return { readBlob: (ctx, { digest }) => kept.read(ctx, digest) };
}

/** Of the manifest, which is the last of the documents that lead to an image. */
export function layersOf(documents: readonly Uint8Array[]): readonly Descriptor[] {
  return manifestOf(documents)?.layers ?? [];
}

export function manifestOf(documents: readonly Uint8Array[]): Manifest | undefined {
  const manifest = documents.at(-1);
  if (manifest === undefined) return undefined;
  const parsed = parseManifest(manifest, "manifest");
  return parsed.kind === "index" ? undefined : parsed;
}
