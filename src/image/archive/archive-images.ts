import { AppError, invalidArgument } from "../../lib/errors.ts";
import { asArray, asList, asObject, asString, optional, parseJson } from "../../lib/json.ts";
import { type Descriptor, parseDescriptor } from "../../oci/descriptor.ts";
import { type Digest, Digester, digestOf } from "../../oci/digest.ts";
import { maxImageConfigBytes, parseImageConfig } from "../../oci/image-config.ts";
import { maxManifestBytes, parseManifest, selectManifest } from "../../oci/manifest.ts";
import { isRunnable, type Platform } from "../../oci/platform.ts";
import { parseReference, type Reference, repoDigest, repoTag } from "../../oci/reference.ts";
import { readAttached } from "../../signature/attached.ts";
import { compressionOf } from "../../snapshot/layer/decompress.ts";
import { foundImageId } from "../image.ts";
import { checkChain, originalsIn } from "../portable-manifest.ts";
import type { FoundImage } from "../store-image.ts";
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
const maxIndexDepth = 4;

/**
 * The images for `platform` in what `docker save` writes, or in an OCI image layout; where an archive is both, the first
 * says the names better.
 */
export async function readArchivedImages(
  archive: ImageArchive,
  platform: Platform,
): Promise<readonly ArchivedImage[]> {
  if (archive.has("manifest.json")) return await readDockerImages(archive);
  if (archive.has("index.json")) return await readLayoutImages(archive, platform);
  throw invalidArgument("an archive with neither manifest.json nor index.json");
}

async function readDockerImages(archive: ImageArchive): Promise<readonly ArchivedImage[]> {
  const list = await readJson(archive, "manifest.json");
  const images: ArchivedImage[] = [];
  for (const [i, value] of asArray(list, "manifest.json", maxImages).entries()) {
    const what = `manifest.json[${i}]`;
    const entry = asObject(value, what);
    const config = await archive.read(
      asString(entry["Config"], `${what}.Config`),
      maxImageConfigBytes,
    );
    const tags = asList(entry["RepoTags"], `${what}.RepoTags`, asString);
    const { diffIds } = parseImageConfig(config, `${what}.Config`);
    const layers: Descriptor[] = [];
    const fileOf = new Map<Digest, string>();
    for (const [height, file] of asList(entry["Layers"], `${what}.Layers`, asString).entries()) {
      const layer = await describeFile(archive, file, diffIds[height]);
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
  return images;
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
): Promise<readonly ArchivedImage[]> {
  const index = asObject(await readJson(archive, "index.json"), "index.json");
  const images: ArchivedImage[] = [];
  for (const [i, value] of asArray(index["manifests"], "index.json", maxImages).entries()) {
    const what = `index.json[${i}]`;
    const descriptor = parseDescriptor(value, what);
    const offered = descriptor.platform;
    if (offered !== undefined && !isRunnable(platform, offered)) continue;
    const annotations = optional(asObject(value, what)["annotations"], what, asObject) ?? {};
    if (isAttachment(asObject(value, what), annotations)) continue;
    const image = await readLayoutImage(archive, platform, descriptor, nameIn(annotations));
    if (image === undefined) continue;
    images.push(await withOriginals(archive, image, originalsIn(annotations) ?? [], annotations));
  }
  return images;
}

/** Undefined for a manifest of signatures. */
async function readLayoutImage(
  archive: ImageArchive,
  platform: Platform,
  named: Descriptor,
  reference: Reference | undefined,
): Promise<ArchivedImage | undefined> {
  const manifests: Uint8Array[] = [];
  let descriptor = named;
  for (let depth = 0; depth < maxIndexDepth; depth++) {
    const what = `manifest ${descriptor.digest}`;
    const bytes = await readBlob(archive, descriptor, maxManifestBytes);
    if (readAttached(bytes, what).length > 0) return undefined;
    manifests.push(bytes);
    const parsed = parseManifest(bytes, what, descriptor.mediaType);
    if (parsed.kind === "manifest") {
      const tag = reference && repoTag(reference);
      return {
        repoTags: tag === undefined ? [] : [tag],
        repoDigests: reference === undefined ? [] : [repoDigest(reference, named.digest)],
        manifests,
        configDigest: parsed.config.digest,
        config: await readBlob(archive, parsed.config, maxImageConfigBytes),
        layers: parsed.layers,
        artifact: parsed.artifact,
        fileOf: new Map(parsed.layers.map(({ digest }) => [digest, blobName(digest)])),
      };
    }
    descriptor = selectManifest(parsed, platform, what);
  }
  throw invalidArgument(`manifest ${named.digest}: indexes nested over ${maxIndexDepth} deep`);
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
