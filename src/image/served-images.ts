import type { Context } from "../lib/context.ts";
import { type Digest, digestHex, digestOf, isDigest } from "../oci/digest.ts";
import { findFile, isWhole } from "./artifact/artifact-blobs.ts";
import type { ImageDeps } from "./deps.ts";
import type { ImageId } from "./image.ts";
import { chainOf, configOf, type ImageRecord } from "./image-record.ts";
import { findKeptImage, keepableOf, openKeptLayer } from "./kept-layers.ts";
import { type LayerBlob, openLayerBlob } from "./layer-blob.ts";
import { describeDocument, originalsOf } from "./originals.ts";
import { makeManifest } from "./portable-manifest.ts";
import { findSignatures } from "./signatures/stored-signatures.ts";

/** What is asked of a registry that mirrors others. */
export interface ServedName {
  /** The registry that is mirrored; undefined is any. */
  readonly registry: string | undefined;
  readonly repository: string;
}

export interface ServedDocument {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly digest: Digest;
}

export type ServedDeps = Pick<ImageDeps, "images" | "layers" | "content" | "kept">;

/**
 * The store as a registry. Where the image's layers are kept as they came, a tag leads to the document that it led to
 * when it was pulled; else to a manifest of the layers as they can be had here, uncompressed, so that anybody can pull.
 * `imageTag` leads to one of those manifests too, by the image's id. Documents that an image was pulled by are had by
 * their own digests, be the compressed layers that they name kept or not. An artifact has the manifest and the files that
 * it came with. Signatures are where cosign has them.
 */
export async function findServedManifest(
  ctx: Context,
  deps: ServedDeps,
  name: ServedName,
  tagOrDigest: string,
): Promise<ServedDocument | undefined> {
  for (const record of recordsOf(deps, name)) {
    if (isDigest(tagOrDigest)) {
      if (record.manifestDigests.includes(tagOrDigest)) {
        return original(deps.content.get(tagOrDigest));
      }
      const made = await portable(ctx, deps, record, originalName(record, name));
      if (made?.digest === tagOrDigest) return made;
    } else if (tagOrDigest === imageTag(record.id)) {
      const own = originalName(record, name);
      const manifest = findKeptImage(ctx, deps, record, own)?.documents.at(-1);
      return manifest ? original(manifest) : await portable(ctx, deps, record, own);
    } else {
      const tag = tagsOf(record, name).find((one) => one.endsWith(`:${tagOrDigest}`));
      if (tag !== undefined) {
        const document = findKeptImage(ctx, deps, record, tag)?.documents[0];
        return document ? original(document) : await portable(ctx, deps, record, tag);
      }
    }
    const signatures = findSignatures(deps, record, tagOrDigest);
    if (signatures !== undefined) return signatures;
  }
  return undefined;
}

/** A config, a layer by its diffID, one that is kept by its own digest, or a file of an artifact. */
export async function findServedBlob(
  ctx: Context,
  deps: ServedDeps,
  name: ServedName,
  digest: Digest,
): Promise<Omit<LayerBlob, "mediaType"> | undefined> {
  for (const record of recordsOf(deps, name)) {
    if (configOf(record) === digest) return blobOf(deps, digest);
    if (record.signatures?.some(({ blobs }) => blobs.includes(digest)) === true) {
      return blobOf(deps, digest);
    }
    if (record.artifact !== undefined) {
      const file = findFile(ctx, deps, record, digest);
      if (file !== undefined) return file;
      continue;
    }
    const chainId = chainOf(record).find((id) => deps.layers.find(id)?.diffId === digest);
    if (chainId !== undefined) return await openLayerBlob(ctx, deps.layers, chainId, false);
    if (deps.kept.find(digest) === undefined) continue;
    const isOfImage = keepableOf(deps, record).includes(digest);
    if (isOfImage) return openKeptLayer(ctx, deps, { mediaType: "", digest });
  }
  return undefined;
}

function blobOf({ content }: ServedDeps, digest: Digest): Omit<LayerBlob, "mediaType"> {
  const bytes = content.get(digest);
  return { digest, sizeBytes: bytes.byteLength, read: () => asStream(bytes) };
}

/** All tags of the repository. */
export function listServedTags(deps: ServedDeps, name: ServedName): readonly string[] {
  const tags = recordsOf(deps, name).flatMap((record) => tagsOf(record, name));
  return [...new Set(tags.map((tag) => tag.slice(tag.lastIndexOf(":") + 1)))].sort();
}

/** A tag that each image has in each of its repositories, without anybody having given it. */
export function imageTag(id: ImageId): string {
  return `crib.${digestHex(id)}`;
}

function recordsOf({ images }: ServedDeps, name: ServedName): readonly ImageRecord[] {
  return images
    .listRecords()
    .filter(({ repoTags, repoDigests }) =>
      [...repoTags, ...repoDigests].some((one) => isOf(one, name)),
    );
}

function tagsOf({ repoTags }: ImageRecord, name: ServedName): readonly string[] {
  return repoTags.filter((tag) => isOf(tag, name));
}

/** The name by which the image's own documents are found, if it has any in this repository. */
function originalName({ repoDigests }: ImageRecord, name: ServedName): string {
  return repoDigests.findLast((one) => isOf(one, name)) ?? "";
}

function isOf(full: string, { registry, repository }: ServedName): boolean {
  const end = full.includes("@") ? full.indexOf("@") : full.lastIndexOf(":");
  const slash = full.indexOf("/");
  const isOfRegistry = registry === undefined || full.slice(0, slash) === registry;
  return isOfRegistry && full.slice(slash + 1, end) === repository;
}

async function portable(
  ctx: Context,
  deps: ServedDeps,
  record: ImageRecord,
  name: string,
): Promise<ServedDocument | undefined> {
  const chain = chainOf(record);
  if (record.artifact !== undefined) {
    const bytes = deps.content.get(record.id);
    return isWhole(ctx, deps, record) ? original(bytes) : undefined;
  }
  if (chain.some((id) => deps.layers.find(id)?.tarBytes === undefined)) return undefined;
  const layers = await Promise.all(chain.map((id) => openLayerBlob(ctx, deps.layers, id, false)));
  const config = { digest: record.id, sizeBytes: record.configSizeBytes };
  const originals = originalsOf(deps, record, name).map((bytes) => digestOf(bytes));
  return makeManifest(config, layers, originals);
}

function original(bytes: Uint8Array): ServedDocument {
  return { bytes, ...describeDocument(bytes) };
}

async function* asStream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
