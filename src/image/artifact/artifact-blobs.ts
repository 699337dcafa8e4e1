import { verifiedStream } from "../../content/verified-stream.ts";
import type { Context } from "../../lib/context.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { parseManifest } from "../../oci/manifest.ts";
import type { Layer } from "../../snapshot/snapshotter.ts";
import type { ImageDeps } from "../deps.ts";
import { chainOf, type ImageRecord } from "../image-record.ts";
import { openKeptLayer } from "../kept-layers.ts";
import type { LayerBlob } from "../layer-blob.ts";
import { fileOf } from "./artifact-layer.ts";

type Deps = Pick<ImageDeps, "layers" | "content" | "kept">;

/** The blobs of an artifact's files as they came. Throws failed-precondition for an archive that was unpacked and not kept. */
export function openFiles(ctx: Context, deps: Deps, record: ImageRecord): readonly LayerBlob[] {
  return partsOf(deps, record).map(({ blob, layer, path }) => {
    const read = readerOf(ctx, deps, blob, layer, path);
    if (read !== undefined) return { ...blob, read };
    throw failedPrecondition(
      `artifact ${record.id} has an archive that was unpacked, and was not kept as it came`,
    );
  });
}

/** The one with that digest, if it can be had. */
export function findFile(
  ctx: Context,
  deps: Deps,
  record: ImageRecord,
  digest: Digest,
): LayerBlob | undefined {
  const part = partsOf(deps, record).find(({ blob }) => blob.digest === digest);
  const read = part && readerOf(ctx, deps, part.blob, part.layer, part.path);
  return part && read && { ...part.blob, read };
}

/** Whether all files can be had. */
export function isWhole(deps: Deps, record: ImageRecord): boolean {
  return partsOf(deps, record).every(({ blob, layer, path }) => {
    return path !== undefined || layer?.diffId === blob.digest || deps.kept.find(blob.digest);
  });
}

interface Part {
  readonly blob: Descriptor;
  readonly path: string | undefined;
  readonly layer: Layer | undefined;
}

function partsOf(deps: Deps, record: ImageRecord): readonly Part[] {
  const bytes = deps.content.get(record.id as string as Digest);
  const manifest = parseManifest(bytes, `manifest ${record.id}`);
  if (manifest.kind !== "manifest") return [];
  const chain = chainOf(record);
  return manifest.layers.map((blob, i) => ({
    blob,
    path: manifest.artifact?.files[i]?.path,
    layer: chain[i] && deps.layers.find(chain[i]),
  }));
}

function readerOf(
  ctx: Context,
  deps: Pick<Deps, "layers" | "kept">,
  blob: Descriptor,
  layer: Layer | undefined,
  path: string | undefined,
): (() => AsyncIterable<Uint8Array>) | undefined {
  if (layer?.tarBytes === undefined) return undefined;
  const { chainId, diffId, tarBytes } = layer;
  const archive = () => deps.layers.readTar(ctx, chainId);
  if (path === undefined) {
    return diffId === blob.digest ? archive : openKeptLayer(ctx, deps, blob)?.read;
  }
  return () => verifiedStream(fileOf(archive(), tarBytes, blob), blob);
}
