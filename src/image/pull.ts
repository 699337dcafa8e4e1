import type { Context } from "../lib/context.ts";
import { AppError, invalidArgument } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { maxImageConfigBytes } from "../oci/image-config.ts";
import { type Manifest, parseManifest, selectManifest } from "../oci/manifest.ts";
import type { Platform } from "../oci/platform.ts";
import { formatReference, type Reference, repoDigest, repoTag } from "../oci/reference.ts";
import { openRepository, type RemoteManifest, type Repository } from "../registry/client.ts";
import type { Credentials } from "../registry/credentials.ts";
import type { ImageDeps } from "./deps.ts";
import type { Image } from "./image.ts";
import { findNearby, type NearbyImage } from "./nearby.ts";
import { registrySource } from "./registry-source.ts";
import { storeImage, usedLayers } from "./store-image.ts";

const maxIndexDepth = 4;

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
 * Pulls the image that `reference` names now: what is nearby (nearby.ts) wins over its registry. The tag is resolved once; every byte is verified against the digest that
 * this gave. Pulling what is there already costs the manifest and adds the name.
 */
export async function pullImage(
  ctx: Context,
  deps: ImageDeps,
  reference: Reference,
  options: PullOptions = {},
): Promise<Image> {
  try {
    await sweep(ctx, deps);
    const nearby = await findNearby(ctx, deps.nearby, reference);
    if (nearby !== undefined) return await storeNearby(ctx, deps, nearby, options);
    const repository = openRepository(deps.registry, reference, options.auth);
    return await pullFrom(ctx, deps, repository, reference, options);
  } catch (cause) {
    ctx.signal.throwIfAborted();
    throw new Error(`pull ${formatReference(reference)}`, { cause });
  }
}

/** What earlier attempts left is kept for a day only. */
async function sweep(ctx: Context, deps: ImageDeps): Promise<void> {
  deps.ingests.expire();
  const expired = deps.leases.expire();
  if (expired.length > 0) await deps.layers.removeUnused(ctx, expired, usedLayers(deps));
}

async function storeNearby(
  ctx: Context,
  deps: ImageDeps,
  { image, from }: { readonly image: NearbyImage; readonly from: string },
  options: PullOptions,
): Promise<Image> {
  ctx.log.info("image is nearby", { image: image.configDigest, from });
  const onBytes = countBytes(image.layers, options.onProgress);
  return await storeImage(ctx, deps, { ...image, pinned: options.pinned ?? false, onBytes });
}

async function pullFrom(
  ctx: Context,
  deps: ImageDeps,
  repository: Repository,
  reference: Reference,
  options: PullOptions,
): Promise<Image> {
  const named = await repository.fetchManifest(ctx, reference.digest ?? reference.tag ?? "latest");
  const { manifest, manifests } = await resolveManifest(ctx, repository, named, deps.platform);
  const config = await repository.fetchBlob(ctx, manifest.config, maxImageConfigBytes);
  const tag = repoTag(reference);
  return await storeImage(ctx, deps, {
    repoTags: tag === undefined ? [] : [tag],
    repoDigests: [repoDigest(reference, named.digest)],
    manifests,
    configDigest: manifest.config.digest,
    config,
    layers: manifest.layers,
    source: registrySource(deps, repository),
    pinned: options.pinned ?? false,
    onBytes: countBytes(manifest.layers, options.onProgress),
  });
}

/** A layer that an image has twice counts twice in all, and comes once. */
function countBytes(
  blobs: readonly Descriptor[],
  onProgress: PullOptions["onProgress"],
): (bytes: number, blob: Descriptor) => void {
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
    onProgress?.({ fetchedBytes, totalBytes, layers });
  };
}

interface ResolvedManifest {
  readonly manifest: Manifest;
  readonly manifests: readonly Uint8Array[];
}

/** From what the name led to down to the manifest for this platform. */
async function resolveManifest(
  ctx: Context,
  repository: Repository,
  named: RemoteManifest,
  platform: Platform,
): Promise<ResolvedManifest> {
  const manifests: Uint8Array[] = [];
  let remote = named;
  for (let depth = 0; depth < maxIndexDepth; depth++) {
    const what = `manifest ${remote.digest}`;
    const parsed = parseManifest(remote.bytes, what, remote.mediaType);
    manifests.push(remote.bytes);
    if (parsed.kind === "manifest") return { manifest: parsed, manifests };
    const chosen = selectManifest(parsed, platform, what);
    remote = await repository.fetchManifest(ctx, chosen.digest);
    if (remote.bytes.byteLength !== chosen.sizeBytes) {
      throw new AppError(`manifest ${chosen.digest}: not ${chosen.sizeBytes} bytes`, {
        kind: "data-loss",
      });
    }
  }
  throw invalidArgument(`manifest ${named.digest}: indexes nested over ${maxIndexDepth} deep`);
}
