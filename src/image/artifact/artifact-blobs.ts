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
  return partsOf(deps, record).map((part) => {
    const found = openPart(ctx, deps, part);
    if (found !== undefined) return found;
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
  return part && openPart(ctx, deps, part);
}

/** Whether all files can be had. */
export function isWhole(ctx: Context, deps: Deps, record: ImageRecord): boolean {
  return partsOf(deps, record).every((part) => openPart(ctx, deps, part) !== undefined);
}

interface Part {
  readonly blob: Descriptor;
  readonly path: string | undefined;
  readonly layer: Layer | undefined;
}

function partsOf(deps: Deps, record: ImageRecord): readonly Part[] {
  const bytes = deps.content.get(record.id);
  const manifest = parseManifest(bytes, `manifest ${record.id}`);
  if (manifest.kind !== "manifest") return [];
  const chain = chainOf(record);
  return manifest.layers.map((blob, i) => ({
    blob,
    path: manifest.artifact?.files[i]?.path,
    layer: chain[i] && deps.layers.find(chain[i]),
  }));
}

function openPart(
  ctx: Context,
  deps: Pick<Deps, "layers" | "kept">,
  { blob, path, layer }: Part,
): LayerBlob | undefined {
  const isUnpacked = path === undefined && layer?.diffId !== blob.digest;
  if (isUnpacked) return openKeptLayer(ctx, deps, blob);
  if (layer?.tarBytes === undefined) return undefined;
  const { chainId, tarBytes } = layer;
  const archive = () => deps.layers.readTar(ctx, chainId);
  const read =
    path === undefined ? archive : () => verifiedStream(fileOf(archive(), tarBytes, blob), blob);
  return { ...blob, read };
}
