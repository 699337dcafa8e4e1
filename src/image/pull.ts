import type { Context } from "../lib/context.ts";
import { inStep } from "../lib/step.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { maxImageConfigBytes } from "../oci/image-config.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  repoDigest,
  repoTag,
} from "../oci/reference.ts";
import { openRepository, type Repository } from "../registry/client.ts";
import type { Credentials } from "../registry/credentials.ts";
import type { ImageDeps } from "./deps.ts";
import { documentsOn, registrySource } from "./fetch/registry-source.ts";
import type { Image } from "./image.ts";
import { findNearby, type NearbyImage } from "./nearby/nearby.ts";
import { resolveManifest } from "./resolve-manifest.ts";
import { admitImage } from "./signatures/admit.ts";
import { registrySignatures } from "./signatures/registry-signatures.ts";
import { type StoreImageDeps, storeImage } from "./store-image.ts";
import { usedLayers } from "./used-layers.ts";

export type PullDeps = StoreImageDeps &
  Pick<ImageDeps, "registry" | "nearby" | "signatures" | "downloads">;

/** How far a pull has come. Bytes are of compressed layers; those that are there already count as fetched. */
export interface PullProgress {
  readonly fetchedBytes: number;
  readonly totalBytes: number;
  /** Lowest first. */
  readonly layers: readonly LayerProgress[];
}

export interface LayerProgress {
  readonly digest: Digest;
  readonly fetchedBytes: number;
  readonly totalBytes: number;
}

export interface PullOptions {
  readonly auth?: Credentials | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  readonly pinned?: boolean;
}

/**
 * Pulls the image that `reference` names now; one that is nearby (nearby.ts) wins over its registry. The tag is resolved
 * once; every byte is verified against the digest that this gave, and so is the signature that the policy may ask for.
 * Pulling what is there already costs the manifest and adds the name.
 */
export async function pullImage(
  ctx: Context,
  deps: PullDeps,
  reference: Reference,
  options: PullOptions = {},
): Promise<Image> {
  try {
    await removeUnusedLayers(ctx, deps);
    const open = () => openRepository(ctx, deps.registry, reference, options.auth);
    const nearby = await inStep(ctx, "image.nearby", () => findNearby(ctx, deps.nearby, reference));
    if (nearby !== undefined) return await storeNearby(ctx, deps, open, nearby, options);
    return await pullFrom(ctx, deps, await open(), reference, options);
  } catch (cause) {
    ctx.signal.throwIfAborted();
    throw new Error(`pull ${formatReference(reference)}`, { cause });
  }
}

/** What earlier attempts left is kept for a day only. */
async function removeUnusedLayers(
  ctx: Context,
  deps: Pick<ImageDeps, "images" | "layers" | "ingests" | "leases">,
): Promise<void> {
  deps.ingests.expire();
  const expired = deps.leases.expire();
  if (expired.length > 0) await deps.layers.removeUnused(ctx, expired, usedLayers(deps));
}

async function storeNearby(
  ctx: Context,
  deps: StoreImageDeps & Pick<ImageDeps, "signatures">,
  openRegistry: () => Repository | Promise<Repository>,
  { image, from }: { readonly image: NearbyImage; readonly from: string },
  options: PullOptions,
): Promise<Image> {
  ctx.log.info("image found without its registry", { image: image.configDigest, from });
  const onBytes = countBytes(image.layers, options.onProgress);
  const { signatures, ...found } = image;
  const own = signatures === undefined ? [] : [signatures];
  const sources = [...own, registrySignatures(openRegistry)];
  const complete = { ...found, pinned: options.pinned ?? false, onBytes };
  const admitted = await inStep(ctx, "image.admit", () =>
    admitImage(ctx, deps.signatures, complete, sources),
  );
  return await storeImage(ctx, deps, admitted);
}

async function pullFrom(
  ctx: Context,
  deps: PullDeps,
  repository: Repository,
  reference: Reference,
  options: PullOptions,
): Promise<Image> {
  const named = await repository.fetchManifest(ctx, reference.digest ?? reference.tag ?? "latest");
  const nearby = await findByDigest(ctx, deps, reference, named.digest);
  if (nearby !== undefined) return await storeNearby(ctx, deps, () => repository, nearby, options);
  const { manifest, manifests } = await resolveManifest(
    documentsOn(ctx, repository),
    named,
    deps.platform,
  );
  const config = await repository.fetchBlob(ctx, manifest.config, maxImageConfigBytes);
  const tag = repoTag(reference);
  const found = {
    repoTags: tag === undefined ? [] : [tag],
    repoDigests: [repoDigest(reference, named.digest)],
    manifests,
    configDigest: manifest.config.digest,
    config,
    layers: manifest.layers,
    artifact: manifest.artifact,
    source: registrySource(deps, repository),
    pinned: options.pinned ?? false,
    onBytes: countBytes(manifest.layers, options.onProgress),
  };
  const sources = [registrySignatures(() => repository)];
  const admitted = await inStep(ctx, "image.admit", () =>
    admitImage(ctx, deps.signatures, found, sources),
  );
  return await storeImage(ctx, deps, admitted);
}

/** Who does not know the tag, or is not asked for tags, may have what the registry says it is. */
async function findByDigest(
  ctx: Context,
  deps: Pick<ImageDeps, "nearby">,
  reference: Reference,
  digest: Digest,
): Promise<Awaited<ReturnType<typeof findNearby>>> {
  const tag = repoTag(reference);
  if (tag === undefined) return undefined;
  const byDigest = parseReference(repoDigest(reference, digest));
  const found = await findNearby(ctx, deps.nearby, byDigest);
  return found && { ...found, image: { ...found.image, repoTags: [tag] } };
}

/** A layer that an image has twice counts twice in all, and comes once. */
function countBytes(
  blobs: readonly Descriptor[],
  onProgress: PullOptions["onProgress"],
): (bytes: number, blob: Descriptor) => void {
  if (onProgress === undefined) return () => {};
  const totalBytes = blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const fetched = new Map<Digest, number>(blobs.map(({ digest }) => [digest, 0]));
  let fetchedBytes = 0;
  return (bytes, { digest }) => {
    fetchedBytes += bytes;
    fetched.set(digest, (fetched.get(digest) ?? 0) + bytes);
    const layers = blobs.map((blob) => ({
      digest: blob.digest,
      fetchedBytes: Math.min(fetched.get(blob.digest) ?? 0, blob.sizeBytes),
      totalBytes: blob.sizeBytes,
    }));
    onProgress({ fetchedBytes, totalBytes, layers });
  };
}
