/**
 * Images made in memory from tar entries, and pushed to a registry exactly as made: no tool in between that
 * would recompress a layer or rewrite a manifest, so that a test can ask for any shape, right or wrong.
 */

import { createHash } from "node:crypto";

export interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Uint8Array;
}

export interface Layer extends Blob {
  readonly diffId: string;
}

/** A manifest with the blobs it names, or an index with the images it names. */
export interface Image {
  readonly manifest: Blob;
  readonly blobs: readonly Blob[];
  readonly images: readonly Image[];
}

export type Compression = "none" | "gzip" | "zstd";

/** Whose media types the manifest uses. */
export type Family = "oci" | "docker";

export interface ImageConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
  readonly StopSignal?: string;
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>;
  readonly Volumes?: Readonly<Record<string, Record<string, never>>>;
  readonly Labels?: Readonly<Record<string, string>>;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

const mediaTypes = {
  oci: {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    index: "application/vnd.oci.image.index.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: {
      none: "application/vnd.oci.image.layer.v1.tar",
      gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
      zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
    },
  },
  docker: {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: {
      none: "application/vnd.docker.image.rootfs.diff.tar",
      gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      zstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
    },
  },
} as const;

const created = "2024-01-01T00:00:00Z";

/** In Go's words for architectures, as image indexes have them. */
export const hostPlatform: Platform = {
  os: "linux",
  architecture: process.arch === "x64" ? "amd64" : process.arch,
};

export const foreignPlatform: Platform = {
  os: "linux",
  ...(hostPlatform.architecture === "arm64"
    ? { architecture: "amd64" }
    : { architecture: "arm64", variant: "v8" }),
};

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export function makeLayer(
  tar: Uint8Array,
  compression: Compression = "gzip",
  family: Family = "oci",
): Layer {
  const bytes = compress(tar, compression);
  return {
    mediaType: mediaTypes[family].layer[compression],
    digest: sha256(bytes),
    diffId: sha256(tar),
    bytes,
  };
}

function compress(tar: Uint8Array, compression: Compression): Uint8Array {
  switch (compression) {
    case "none":
      return tar;
    case "gzip":
      return Bun.gzipSync(new Uint8Array(tar), { level: 6 });
    case "zstd":
      return Bun.zstdCompressSync(tar, { level: 3 });
  }
}

export function makeImage(
  layers: readonly Layer[],
  config: ImageConfig,
  options: { readonly platform?: Platform; readonly family?: Family } = {},
): Image {
  const types = mediaTypes[options.family ?? "oci"];
  const configBlob = jsonBlob(types.config, {
    created,
    ...(options.platform ?? hostPlatform),
    config,
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_layer, index) => ({ created, created_by: `layer ${index}` })),
  });
  return imageOfBlobs(configBlob, layers, { mediaType: types.manifest });
}

/** A manifest of any blobs, with further fields of the caller's. */
export function imageOfBlobs(
  config: Blob,
  blobs: readonly (Blob & { readonly annotations?: Readonly<Record<string, string>> })[],
  fields: Readonly<Record<string, unknown>> = {},
): Image {
  const mediaType = String(fields["mediaType"] ?? mediaTypes.oci.manifest);
  const manifest = jsonBlob(mediaType, {
    schemaVersion: 2,
    mediaType,
    ...fields,
    config: descriptor(config),
    layers: blobs.map((blob) => ({
      ...descriptor(blob),
      ...(blob.annotations && { annotations: blob.annotations }),
    })),
  });
  return { manifest, blobs: [config, ...blobs], images: [] };
}

/** One blob of an artifact, with what its descriptor says of it. */
export interface ArtifactBlob {
  readonly bytes: Uint8Array;
  readonly mediaType?: string;
  /** The annotation that names it. */
  readonly title?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** As `oras push` makes it: no config, a type, and each blob with its title. */
export function makeArtifact(
  files: readonly ArtifactBlob[],
  options: { readonly type?: string; readonly config?: Blob } = {},
): Image {
  const config = options.config ?? jsonBlob("application/vnd.oci.empty.v1+json", {});
  const blobs = files.map(({ bytes, mediaType = "application/octet-stream" }) => {
    return { mediaType, digest: sha256(bytes), bytes };
  });
  const manifest = jsonBlob(mediaTypes.oci.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.oci.manifest,
    ...(options.type === undefined ? {} : { artifactType: options.type }),
    config: descriptor(config),
    layers: blobs.map((blob, i) => ({
      ...descriptor(blob),
      annotations: {
        ...(files[i]?.title === undefined
          ? {}
          : { "org.opencontainers.image.title": files[i]?.title }),
        ...files[i]?.annotations,
      },
    })),
  });
  return { manifest, blobs: [config, ...blobs], images: [] };
}

export function makeIndex(
  members: readonly { readonly image: Image; readonly platform?: Platform }[],
  family: Family = "oci",
): Image {
  const mediaType = mediaTypes[family].index;
  const manifest = jsonBlob(mediaType, {
    schemaVersion: 2,
    mediaType,
    manifests: members.map(({ image, platform }) => ({
      ...descriptor(image.manifest),
      ...(platform && { platform }),
    })),
  });
  return { manifest, blobs: [], images: members.map((member) => member.image) };
}

export function jsonBlob(mediaType: string, value: unknown): Blob {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return { mediaType, digest: sha256(bytes), bytes };
}

function descriptor(blob: Blob): { mediaType: string; digest: string; size: number } {
  return { mediaType: blob.mediaType, digest: blob.digest, size: blob.bytes.length };
}

/** Blobs that the repository has are not sent again. */
export async function pushImage(
  registryUrl: string,
  repository: string,
  tag: string,
  image: Image,
): Promise<void> {
  const base = `${registryUrl}/v2/${repository}`;
  await pushBlobs(base, image);
  await pushManifest(base, tag, image);
}

async function pushBlobs(base: string, image: Image): Promise<void> {
  for (const blob of image.blobs) {
    const found = await fetch(`${base}/blobs/${blob.digest}`, { method: "HEAD" });
    if (found.ok) continue;
    const started = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
    const location = started.headers.get("location");
    if (started.status !== 202 || location === null) {
      throw new Error(`start upload to ${base}: status ${started.status}`);
    }
    const upload = new URL(location, base);
    upload.searchParams.set("digest", blob.digest);
    await expectCreated(upload, blob.bytes, "application/octet-stream");
  }
  for (const member of image.images) {
    await pushBlobs(base, member);
    await pushManifest(base, member.manifest.digest, member);
  }
}

async function pushManifest(base: string, reference: string, image: Image): Promise<void> {
  const url = new URL(`${base}/manifests/${reference}`);
  await expectCreated(url, image.manifest.bytes, image.manifest.mediaType);
}

async function expectCreated(url: URL, body: Uint8Array, contentType: string): Promise<void> {
  const response = await fetch(url, {
    method: "PUT",
    headers: { "content-type": contentType },
    body: new Uint8Array(body),
  });
  if (response.status !== 201) {
    throw new Error(`push ${url.pathname}: status ${response.status}: ${await response.text()}`);
  }
}

/** An OCI image layout with these in its index, as a tar archive would hold it or a directory. */
export function layoutFiles(
  entries: readonly { readonly image: Image; readonly descriptor?: object }[],
): ReadonlyMap<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const add = ({ digest, bytes }: Blob) =>
    files.set(`blobs/sha256/${digest.slice("sha256:".length)}`, bytes);
  const addAll = ({ manifest, blobs, images }: Image) => {
    for (const blob of [manifest, ...blobs]) add(blob);
    images.forEach(addAll);
  };
  for (const { image } of entries) addAll(image);
  const manifests = entries.map(({ image, descriptor: more }) => ({
    ...descriptor(image.manifest),
    ...more,
  }));
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  files.set("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  files.set("index.json", json({ schemaVersion: 2, manifests }));
  return files;
}
