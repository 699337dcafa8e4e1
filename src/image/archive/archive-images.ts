import type { Context } from "../../lib/context.ts";
import { AppError, describe, invalidArgument, kindOf, notFound } from "../../lib/errors.ts";
import { asArray, asList, asObject, asString, optional, parseJson } from "../../lib/json.ts";
import { type Descriptor, parseDescriptor } from "../../oci/descriptor.ts";
import { type Digest, Digester, digestOf } from "../../oci/digest.ts";
import { maxImageConfigBytes, parseImageConfig } from "../../oci/image-config.ts";
import { maxManifestBytes } from "../../oci/manifest.ts";
import {
  formatPlatform,
  isRunnable,
  normalizePlatform,
  type Platform,
} from "../../oci/platform.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  repoDigest,
  repoTag,
} from "../../oci/reference.ts";
import { readAttached } from "../../signature/attached.ts";
import { compressionOf } from "../../snapshot/layer/decompress.ts";
import type { FoundImage } from "../found-image.ts";
import { foundImageId } from "../image.ts";
import { checkChain, originalsIn } from "../portable-manifest.ts";
import { type DocumentSource, resolveManifest } from "../resolve-manifest.ts";
import { blobName, type ImageArchive, readBlob } from "./archive.ts";
import { isAttachment } from "./archive-signatures.ts";

/** An image in an archive, but for how its layers are read. */
export interface ArchivedImage
  extends Pick<
    FoundImage,
    "repoTags" | "repoDigests" | "manifests" | "configDigest" | "config" | "layers" | "artifact"
  > {
  /** The file in the archive that a layer is in. */
  readonly fileOf: ReadonlyMap<Digest, string>;
}

const maxImages = 1000;

/** What an archive has. */
export interface ArchiveContents {
  readonly images: readonly ArchivedImage[];
  /** What is in it and not for this node, a line each. */
  readonly foreign: readonly string[];
}

/**
 * The images for `platform` in what `docker save` writes, or in an OCI image layout; where an archive is both, the first
 * says the names better. Images for other platforms, by an index or else by their config, are left out.
 */
export async function readArchivedImages(
  archive: ImageArchive,
  platform: Platform,
): Promise<ArchiveContents> {
  if (archive.has("manifest.json")) return await readDockerImages(archive, platform);
  if (archive.has("index.json")) return await readLayoutImages(archive, platform);
  throw invalidArgument("an archive with neither manifest.json nor index.json");
}

/** Says of each image that is not for this node that it is left out; an archive of no others is an error. */
export function checkForeign(
  ctx: Context,
  { platform }: { readonly platform: Platform },
  { images, foreign }: ArchiveContents,
): void {
  if (images.length > 0) {
    for (const image of foreign) ctx.log.warn("image for another platform skipped", { err: image });
    return;
  }
  const others = foreign.length === 0 ? "" : `: ${foreign.slice(0, 20).join("; ")}`;
  throw invalidArgument(`no image for this platform, ${formatPlatform(platform)}${others}`);
}

async function readDockerImages(archive: ImageArchive, node: Platform): Promise<ArchiveContents> {
  const list = await readJson(archive, "manifest.json");
  const images: ArchivedImage[] = [];
  const foreign: string[] = [];
  for (const [i, value] of asArray(list, "manifest.json", maxImages).entries()) {
    const what = `manifest.json[${i}]`;
    const entry = asObject(value, what);
    const config = await archive.read(
      asString(entry["Config"], `${what}.Config`),
      maxImageConfigBytes,
    );
    const tags = asList(entry["RepoTags"], `${what}.RepoTags`, asString);
    const { diffIds, ...rest } = parseImageConfig(config, `${what}.Config`);
    const offered = normalizePlatform(rest);
    if (isForeign(offered, node)) {
      foreign.push(foreignLine(tags[0] ?? what, offered));
      continue;
    }
    const layers: Descriptor[] = [];
    const fileOf = new Map<Digest, string>();
    for (const [index, file] of asList(entry["Layers"], `${what}.Layers`, asString).entries()) {
      const layer = await describeFile(archive, file, diffIds[index]);
      layers.push(layer);
      fileOf.set(layer.digest, file);
    }
    images.push({
      repoTags: tags.map((tag) => repoTag(parseReference(tag)) ?? tag),
      repoDigests: [],
      manifests: [],
      configDigest: digestOf(config),
      config,
      layers,
      artifact: undefined,
      fileOf,
    });
  }
  return { images, foreign };
}

/** Says that it is for a platform, and that is another one. */
function isForeign(offered: Platform, node: Platform): boolean {
  return offered.architecture !== "" && !isRunnable(node, offered);
}

function foreignLine(name: string, offered: Platform): string {
  return `${name} is for ${formatPlatform(offered)}`;
}

/** This format does not say a layer's digest. That of an uncompressed one is the diffID; another one is read for it. */
async function describeFile(
  archive: ImageArchive,
  name: string,
  diffId: Digest | undefined,
): Promise<Descriptor> {
  const known = archive.digestOf?.(name) ?? (await plainDigest(archive, name, diffId));
  return {
    mediaType: "application/vnd.oci.image.layer.v1.tar",
    digest: known ?? (await digestOfFile(archive, name)),
    sizeBytes: archive.sizeOf(name),
    platform: undefined,
  };
}

async function plainDigest(
  archive: ImageArchive,
  name: string,
  diffId: Digest | undefined,
): Promise<Digest | undefined> {
  for await (const chunk of archive.stream(name)) {
    return compressionOf(Buffer.from(chunk)) === "none" ? diffId : undefined;
  }
  return undefined;
}

async function digestOfFile(archive: ImageArchive, name: string): Promise<Digest> {
  const hash = new Digester();
  for await (const chunk of archive.stream(name)) hash.update(chunk);
  return hash.digest();
}

async function readLayoutImages(
  archive: ImageArchive,
  platform: Platform,
): Promise<ArchiveContents> {
  const index = asObject(await readJson(archive, "index.json"), "index.json");
  const images: ArchivedImage[] = [];
  const foreign: string[] = [];
  for (const [i, value] of asArray(index["manifests"], "index.json", maxImages).entries()) {
    const what = `index.json[${i}]`;
    const descriptor = parseDescriptor(value, what);
    const annotations = optional(asObject(value, what)["annotations"], what, asObject) ?? {};
    if (isAttachment(asObject(value, what), annotations)) continue;
    const reference = nameIn(annotations);
    const name = reference === undefined ? descriptor.digest : formatReference(reference);
    const offered = descriptor.platform;
    if (offered !== undefined && !isRunnable(platform, offered)) {
      // Attestations say that they are for nothing that is known.
      if (offered.os !== "unknown") foreign.push(foreignLine(name, offered));
      continue;
    }
    const image = await readLayoutImage(archive, platform, descriptor, reference).catch(
      (err: unknown) => {
        if (kindOf(err) !== "not-found") throw err;
        foreign.push(`${name}: ${describe(err)}`);
      },
    );
    if (image === undefined) continue;
    const isIndexed = offered !== undefined || image.manifests.length > 1;
    const own = ownPlatform(image);
    if (!isIndexed && own !== undefined && isForeign(own, platform)) {
      foreign.push(foreignLine(name, own));
      continue;
    }
    images.push(await withOriginals(archive, image, originalsIn(annotations) ?? [], annotations));
  }
  return { images, foreign };
}

function ownPlatform({ config, configDigest, artifact }: ArchivedImage): Platform | undefined {
  if (artifact !== undefined) return undefined;
  return normalizePlatform(parseImageConfig(config, `image config ${configDigest}`));
}

/** Undefined for a manifest of signatures. Throws `not-found` where there is none for this platform. */
async function readLayoutImage(
  archive: ImageArchive,
  platform: Platform,
  named: Descriptor,
  reference: Reference | undefined,
): Promise<ArchivedImage | undefined> {
  const source: DocumentSource = {
    manifest: async (descriptor) => {
      // Docker and ctr write indexes of all platforms with the files of some.
      if (!archive.has(blobName(descriptor.digest))) {
        throw notFound(`manifest ${descriptor.digest} is not in the archive`);
      }
      const bytes = await readBlob(archive, descriptor, maxManifestBytes);
      return { bytes, mediaType: descriptor.mediaType };
    },
    config: (config) => readBlob(archive, config, maxImageConfigBytes),
  };
  const { bytes, mediaType } = await source.manifest(named);
  if (readAttached(bytes, `manifest ${named.digest}`).length > 0) return undefined;
  const document = { bytes, mediaType, digest: named.digest };
  const { manifest, manifests } = await resolveManifest(source, document, platform);
  const tag = reference && repoTag(reference);
  return {
    repoTags: tag === undefined ? [] : [tag],
    repoDigests: reference === undefined ? [] : [repoDigest(reference, named.digest)],
    manifests,
    configDigest: manifest.config.digest,
    config: await readBlob(archive, manifest.config, maxImageConfigBytes),
    layers: manifest.layers,
    artifact: manifest.artifact,
    fileOf: new Map(manifest.layers.map(({ digest }) => [digest, blobName(digest)])),
  };
}

/** The manifests that the image was pulled by before it was exported: by them it keeps the digests it is known by. */
async function withOriginals(
  archive: ImageArchive,
  image: ArchivedImage,
  originals: readonly Digest[],
  annotations: Readonly<Record<string, unknown>>,
): Promise<ArchivedImage> {
  const [outermost] = originals;
  if (outermost === undefined) return image;
  const manifests = await Promise.all(
    originals.map(async (digest) => {
      const sizeBytes = archive.sizeOf(blobName(digest));
      return await readBlob(archive, { digest, sizeBytes }, maxManifestBytes);
    }),
  );
  checkChain(manifests, foundImageId(image));
  const reference = nameIn(annotations);
  const repoDigests = reference === undefined ? [] : [repoDigest(reference, outermost)];
  return { ...image, manifests, repoDigests };
}

/** What containerd and nerdctl write; else the specification's annotation, which is often a mere tag and then no name. */
function nameIn(annotations: Readonly<Record<string, unknown>>): Reference | undefined {
  const full = annotations["io.containerd.image.name"];
  const name = annotations["org.opencontainers.image.ref.name"];
  const text = full ?? name;
  if (typeof text !== "string" || (full === undefined && !/[/:]/.test(text))) return undefined;
  try {
    return parseReference(text);
  } catch (err) {
    if (err instanceof AppError) return undefined;
    throw err;
  }
}

async function readJson(archive: ImageArchive, name: string): Promise<unknown> {
  return parseJson(await archive.read(name, maxManifestBytes), name, {
    maxBytes: maxManifestBytes,
  });
}
