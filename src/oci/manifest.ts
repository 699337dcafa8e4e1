import { AppError, invalidArgument, notFound } from "../lib/errors.ts";
import { asArray, asObject, asString, optional, parseJson } from "../lib/json.ts";
import { type Artifact, parseArtifact } from "./artifact.ts";
import { type Descriptor, parseDescriptor } from "./descriptor.ts";
import { formatPlatform, isRunnable, type Platform } from "./platform.ts";

export const maxManifestBytes = 4 << 20;
const maxIndexEntries = 1000;
/** Overlayfs takes 500; nobody has been seen with more than 127. */
const maxLayers = 200;

const indexTypes: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const manifestTypes: readonly string[] = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const configTypes: readonly string[] = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
/** Whether and how a layer is compressed is seen in its bytes. */
const layerType =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[+.](?:gzip|zstd))?$/;

/** What we ask a registry for, best first. */
export const acceptedManifestTypes: readonly string[] = [...indexTypes, ...manifestTypes];

export interface Manifest {
  readonly kind: "manifest";
  readonly config: Descriptor;
  /** Lowest first; of an artifact its files, in order. */
  readonly layers: readonly Descriptor[];
  /** Undefined for a container image. */
  readonly artifact: Artifact | undefined;
}

export interface Index {
  readonly kind: "index";
  readonly manifests: readonly Descriptor[];
}

/**
 * Parses a manifest, of an image or an artifact, or an index of them, OCI or Docker schema 2. `declaredType` is what the
 * registry or the descriptor said it is, if anything. A document that could be read as both is refused (CVE-2021-41190).
 */
export function parseManifest(
  bytes: Uint8Array,
  what: string,
  declaredType?: string,
): Manifest | Index {
  const document = asObject(parseJson(bytes, what, { maxBytes: maxManifestBytes }), what);
  if (document["schemaVersion"] === 1) {
    throw invalidArgument(`${what}: Docker schema 1, which is not supported: push the image again`);
  }
  const isIndex = "manifests" in document;
  if (isIndex === ("layers" in document || "config" in document)) {
    throw invalidArgument(`${what}: neither an image manifest nor an image index`);
  }
  const innerType = optional(document["mediaType"], `${what}.mediaType`, asString);
  for (const type of [innerType, declaredType]) {
    if (type !== undefined && (isIndex ? manifestTypes : indexTypes).includes(type)) {
      throw invalidArgument(`${what}: not the ${type} it is declared to be`);
    }
  }
  return isIndex ? parseIndex(document["manifests"], what) : parseImage(document, what);
}

function parseIndex(manifests: unknown, what: string): Index {
  return {
    kind: "index",
    manifests: asArray(manifests, `${what}.manifests`, maxIndexEntries).map((entry, i) =>
      parseDescriptor(entry, `${what}.manifests[${i}]`),
    ),
  };
}

function parseImage(document: Readonly<Record<string, unknown>>, what: string): Manifest {
  const config = parseDescriptor(document["config"], `${what}.config`);
  const layers = optional(document["layers"], `${what}.layers`, asArray) ?? [];
  if (layers.length > maxLayers) {
    throw new AppError(`${what}: ${layers.length} layers, over the limit of ${maxLayers}`, {
      kind: "resource-exhausted",
    });
  }
  if (!configTypes.includes(config.mediaType)) {
    const { artifact, blobs } = parseArtifact(document, config.mediaType, layers, what);
    return { kind: "manifest", config, layers: blobs, artifact };
  }
  return {
    kind: "manifest",
    config,
    artifact: undefined,
    layers: layers.map((layer, i) => parseLayer(layer, `${what}.layers[${i}]`)),
  };
}

function parseLayer(value: unknown, what: string): Descriptor {
  const layer = parseDescriptor(value, what);
  if (layerType.test(layer.mediaType)) return layer;
  throw invalidArgument(
    `${what}: not a layer but ${JSON.stringify(layer.mediaType.slice(0, 100))}`,
  );
}

/** The first manifest (or nested index) that runs on `node`. An entry without platform is taken when it is the only one. */
export function selectManifest(index: Index, node: Platform, what: string): Descriptor {
  const known = index.manifests.filter(({ mediaType }) =>
    acceptedManifestTypes.includes(mediaType),
  );
  const match = known.find(({ platform }) => platform !== undefined && isRunnable(node, platform));
  const [only] = known;
  if (match !== undefined) return match;
  if (only !== undefined && known.length === 1 && only.platform === undefined) return only;
  throw notFound(`${what}: no image for ${formatPlatform(node)}`);
}
