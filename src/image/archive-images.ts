import { readVerified } from "../content/verified-stream.ts";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { asArray, asList, asObject, asString, optional, parseJson } from "../lib/json.ts";
import { type Descriptor, parseDescriptor } from "../oci/descriptor.ts";
import { type Digest, digestHex, digestOf } from "../oci/digest.ts";
import { maxImageConfigBytes } from "../oci/image-config.ts";
import { maxManifestBytes, parseManifest, selectManifest } from "../oci/manifest.ts";
import { isRunnable, type Platform } from "../oci/platform.ts";
import { parseReference, type Reference, repoDigest, repoTag } from "../oci/reference.ts";
import type { ArchiveFile } from "./archive-file.ts";
import type { FoundImage } from "./store-image.ts";

/** An image in an archive, but for how its layers are read. */
export interface ArchivedImage
  extends Pick<
    FoundImage,
    "repoTags" | "repoDigests" | "manifests" | "configDigest" | "config" | "layers"
  > {
  /** The file in the archive that a layer is in. */
  readonly fileOf: ReadonlyMap<Digest, string>;
}

const maxImages = 1000;
const maxIndexDepth = 4;

/** The images for `platform` in what `docker save` writes, or in an OCI image layout; where an archive is both, the first says the names better. */
export async function readArchivedImages(
  archive: ArchiveFile,
  platform: Platform,
): Promise<readonly ArchivedImage[]> {
  if (archive.has("manifest.json")) return await readDockerImages(archive);
  if (archive.has("index.json")) return await readLayoutImages(archive, platform);
  throw invalidArgument("an archive with neither manifest.json nor index.json");
}

async function readDockerImages(archive: ArchiveFile): Promise<readonly ArchivedImage[]> {
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
    const layers: Descriptor[] = [];
    const fileOf = new Map<Digest, string>();
    for (const file of asList(entry["Layers"], `${what}.Layers`, asString)) {
      const layer = await describeFile(archive, file);
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
      fileOf,
    });
  }
  return images;
}

/** This format does not say a layer's digest: the diffID in the config is what verifies it. */
async function describeFile(archive: ArchiveFile, name: string): Promise<Descriptor> {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const chunk of archive.stream(name)) hash.update(chunk);
  return {
    mediaType: "application/vnd.oci.image.layer.v1.tar",
    digest: `sha256:${hash.digest("hex")}` as Digest,
    sizeBytes: archive.sizeOf(name),
    platform: undefined,
  };
}

async function readLayoutImages(
  archive: ArchiveFile,
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
    images.push(await readLayoutImage(archive, platform, descriptor, nameIn(annotations)));
  }
  return images;
}

async function readLayoutImage(
  archive: ArchiveFile,
  platform: Platform,
  named: Descriptor,
  reference: Reference | undefined,
): Promise<ArchivedImage> {
  const manifests: Uint8Array[] = [];
  let descriptor = named;
  for (let depth = 0; depth < maxIndexDepth; depth++) {
    const what = `manifest ${descriptor.digest}`;
    const bytes = await readBlob(archive, descriptor, maxManifestBytes);
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
        fileOf: new Map(parsed.layers.map(({ digest }) => [digest, blobName(digest)])),
      };
    }
    descriptor = selectManifest(parsed, platform, what);
  }
  throw invalidArgument(`manifest ${named.digest}: indexes nested over ${maxIndexDepth} deep`);
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

function readBlob(archive: ArchiveFile, blob: Descriptor, maxBytes: number): Promise<Buffer> {
  return readVerified(archive.stream(blobName(blob.digest)), blob, maxBytes);
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}

async function readJson(archive: ArchiveFile, name: string): Promise<unknown> {
  return parseJson(await archive.read(name, maxManifestBytes), name, {
    maxBytes: maxManifestBytes,
  });
}
