import type { Context } from "../../lib/context.ts";
import { invalidArgument } from "../../lib/errors.ts";
import { type Digest, digestHex, digestOf } from "../../oci/digest.ts";
import { openFiles } from "../artifact/artifact-blobs.ts";
import type { ImageDeps } from "../deps.ts";
import { chainOf, configOf, type ImageRecord } from "../image-record.ts";
import { findKeptImage } from "../kept-layers.ts";
import { type LayerBlob, openLayerBlob } from "../layer-blob.ts";
import { describeDocument, originalsOf } from "../originals.ts";
import { makeManifest, originalsAs } from "../portable-manifest.ts";
import {
  describeReferrer,
  listSignatures,
  type NamedDocument,
} from "../signatures/stored-signatures.ts";
import { blobName } from "./archive.ts";
import { type ArchiveMember, writeArchive } from "./archive-writer.ts";

export interface ExportOptions {
  /** `oci` is an image layout, `docker` what `docker save` writes. */
  readonly format: "oci" | "docker";
  /** Each layer as zstd, unless it is kept as it came; for `oci` only. */
  readonly compressLayers: boolean;
}

export type ExportDeps = Pick<ImageDeps, "images" | "layers" | "content" | "kept">;

const maxImages = 1000;

/** An image to export, with the names to export it by: the one it was asked for by, or all if that was an id. */
interface Chosen {
  readonly record: ImageRecord;
  readonly names: readonly string[];
}

/**
 * An archive of these images, layers made again from their directories or as they came where they were kept. Whoever imports
 * it has images of the same ids and, from the OCI format, of the same digests and with the signatures that are kept; each
 * layer is verified while it is read. The layers are held meanwhile.
 */
export async function* exportImages(
  ctx: Context,
  deps: ExportDeps,
  keys: readonly string[],
  options: ExportOptions,
): AsyncGenerator<Uint8Array> {
  const chosen = chooseImages(deps, keys);
  using _hold = deps.layers.hold(chosen.flatMap(({ record }) => chainOf(record)));
  const members =
    options.format === "docker"
      ? dockerMembers(ctx, deps, chosen)
      : layoutMembers(ctx, deps, chosen, options);
  yield* writeArchive(members);
}

function chooseImages(deps: ExportDeps, keys: readonly string[]): readonly Chosen[] {
  if (keys.length === 0 || keys.length > maxImages) {
    throw invalidArgument(`export ${keys.length} images: from 1 to ${maxImages} at a time`);
  }
  const chosen = new Map<string, { record: ImageRecord; names: Set<string> }>();
  for (const key of keys) {
    const { id } = deps.images.get(key);
    const record = deps.images.findRecord(id);
    if (record === undefined) throw new TypeError(`image ${id} went`);
    const name = deps.images.nameOf(key);
    const names = name === undefined ? record.repoTags : [name];
    const known = chosen.get(id);
    for (const each of names) known?.names.add(each);
    if (known === undefined) chosen.set(id, { record, names: new Set(names) });
  }
  return [...chosen.values()].map(({ record, names }) => ({ record, names: [...names] }));
}

async function* layoutMembers(
  ctx: Context,
  deps: ExportDeps,
  chosen: readonly Chosen[],
  options: ExportOptions,
): AsyncGenerator<ArchiveMember> {
  const written = new Set<Digest>();
  const manifests: object[] = [];
  yield small("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  for (const image of chosen) {
    const { documents, layers, descriptors } = await partsOf(ctx, deps, image, options);
    for (const bytes of documents) {
      const digest = digestOf(bytes);
      if (!written.has(digest)) yield small(blobName(digest), bytes);
      written.add(digest);
    }
    for (const { digest, sizeBytes, read } of layers) {
      if (!written.has(digest)) yield { name: blobName(digest), sizeBytes, content: read() };
      written.add(digest);
    }
    manifests.push(...descriptors);
  }
  const mediaType = "application/vnd.oci.image.index.v1+json";
  yield small("index.json", JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
}

/** What an image is in a layout: blobs, and its entries in index.json. */
interface LayoutParts {
  readonly documents: readonly Uint8Array[];
  readonly layers: readonly LayerBlob[];
  readonly descriptors: readonly object[];
}

/** Under each of its names as it came, where that is kept, else made again. */
async function partsOf(
  ctx: Context,
  deps: ExportDeps,
  { record, names }: Chosen,
  { compressLayers }: ExportOptions,
): Promise<LayoutParts> {
  const signatures = (record.signatures ?? []).flatMap(({ manifest, blobs }) => [
    manifest,
    ...blobs,
  ]);
  const documents: Uint8Array[] = [configOf(record), ...signatures].map((digest) =>
    deps.content.get(digest),
  );
  const layers: LayerBlob[] = [];
  const descriptors: object[] = [];
  let plain: PlainImage | undefined;
  for (const name of names.length === 0 ? [undefined] : names) {
    const kept = findKeptImage(ctx, deps, record, name ?? record.repoDigests[0] ?? "");
    if (kept !== undefined) {
      documents.push(...kept.documents);
      layers.push(...kept.layers);
      descriptors.push(describeOriginal(kept.documents, record, name));
      continue;
    }
    plain ??= await openPlain(ctx, deps, record, compressLayers);
    const originals = name === undefined ? [] : originalsOf(deps, record, name);
    documents.push(plain.manifest.bytes, ...originals);
    layers.push(...plain.layers);
    descriptors.push(describePlain(plain, originals, name));
  }
  descriptors.push(...listSignatures(deps, record).map(describeSignatures));
  return { documents, layers, descriptors };
}

interface PlainImage {
  readonly layers: readonly LayerBlob[];
  readonly manifest: { readonly bytes: Uint8Array };
  /** Its descriptor. */
  readonly entry: object;
}

function openPlain(
  ctx: Context,
  deps: ExportDeps,
  record: ImageRecord,
  compressLayers: boolean,
): PlainImage | Promise<PlainImage> {
  return record.artifact === undefined
    ? makeLayers(ctx, deps, record, compressLayers)
    : openArtifact(ctx, deps, record);
}

/** The image's layers made again, and a manifest of them. */
async function makeLayers(
  ctx: Context,
  deps: ExportDeps,
  record: ImageRecord,
  compressLayers: boolean,
): Promise<PlainImage> {
  const layers: LayerBlob[] = [];
  for (const chainId of chainOf(record)) {
    layers.push(await openLayerBlob(ctx, deps.layers, chainId, compressLayers));
  }
  const config = { digest: record.id, sizeBytes: record.configSizeBytes };
  const manifest = makeManifest(config, layers);
  const { mediaType, digest, bytes } = manifest;
  const entry = { mediaType, digest, size: bytes.byteLength, platform: platformOf(record) };
  return { layers, manifest, entry };
}

/** The artifact's files, which are what they were, and so is its manifest. */
function openArtifact(ctx: Context, deps: ExportDeps, record: ImageRecord): PlainImage {
  const layers = openFiles(ctx, deps, record);
  const bytes = deps.content.get(record.id);
  return { layers, manifest: { bytes }, entry: describeOriginal([bytes], record, undefined) };
}

function describePlain(
  { entry }: PlainImage,
  originals: readonly Uint8Array[],
  name: string | undefined,
): object {
  if (name === undefined) return entry;
  const digests = originals.map((bytes) => digestOf(bytes));
  return { ...entry, annotations: { ...nameAnnotations(name), ...originalsAs(digests) } };
}

/** An index is for several platforms, of which the archive has one. */
function describeOriginal(
  [outermost]: readonly Uint8Array[],
  record: ImageRecord,
  name: string | undefined,
): object {
  if (outermost === undefined) throw new TypeError("no document");
  const { mediaType, digest } = describeDocument(outermost);
  return {
    mediaType,
    digest,
    size: outermost.byteLength,
    ...(mediaType.includes("manifest.v") ? { platform: platformOf(record) } : {}),
    ...(name === undefined ? {} : { annotations: nameAnnotations(name) }),
  };
}

async function* dockerMembers(
  ctx: Context,
  deps: ExportDeps,
  chosen: readonly Chosen[],
): AsyncGenerator<ArchiveMember> {
  const written = new Set<string>();
  const entries: object[] = [];
  for (const { record, names } of chosen) {
    if (record.artifact !== undefined) {
      throw invalidArgument(`${record.id} is an artifact: only an OCI archive can hold it`);
    }
    const config = `${digestHex(configOf(record))}.json`;
    yield small(config, deps.content.get(configOf(record)));
    const files: string[] = [];
    for (const chainId of chainOf(record)) {
      const { digest, sizeBytes, read } = await openLayerBlob(ctx, deps.layers, chainId, false);
      const name = `${digestHex(digest)}.tar`;
      files.push(name);
      if (written.has(name)) continue;
      written.add(name);
      yield { name, sizeBytes, content: read() };
    }
    entries.push({
      Config: config,
      RepoTags: names.filter((name) => !name.includes("@")),
      Layers: files,
    });
  }
  yield small("manifest.json", JSON.stringify(entries));
}

function describeSignatures(document: NamedDocument) {
  const { tag, mediaType, digest, bytes } = document;
  if (tag === undefined) return describeReferrer(document);
  const annotations = { "org.opencontainers.image.ref.name": tag };
  return { mediaType, digest, size: bytes.byteLength, annotations };
}

/** containerd's annotation has the whole name, the specification's has the tag. */
function nameAnnotations(name: string): Readonly<Record<string, string>> {
  const tag = name.includes("@") ? undefined : name.slice(name.lastIndexOf(":") + 1);
  return {
    "io.containerd.image.name": name,
    ...(tag === undefined ? {} : { "org.opencontainers.image.ref.name": tag }),
  };
}

function platformOf({ config: { os, architecture, variant } }: ImageRecord) {
  if (architecture === "") return undefined;
  return { os: os || "linux", architecture, ...(variant === "" ? {} : { variant }) };
}

function small(name: string, content: string | Uint8Array): ArchiveMember {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return { name, sizeBytes: bytes.byteLength, content: [bytes] };
}
