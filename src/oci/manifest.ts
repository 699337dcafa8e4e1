import { AppError, invalidArgument } from "../lib/errors.ts";
import { asArray, asObject, asString, optional, parseJson } from "../lib/json.ts";
import { type Artifact, parseArtifact } from "./artifact.ts";
import { type Descriptor, parseDescriptor } from "./descriptor.ts";
import { type Platform, rankOf } from "./platform.ts";

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
const dockerPrefix = "application/vnd.docker.";
const configTypes: readonly string[] = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
/** What registries and tools write that do not know better: it says nothing. */
const vagueType =
  /^(?:|application\/(?:octet-stream|json|(?:x-)?gzip|(?:x-)?tar(?:\+gzip)?|zstd)|text\/(?:html|plain))$/;
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
  /** For what they say of platforms, see `candidatesIn`. */
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
  if (isIndex) return parseIndex(document["manifests"], what);
  const isDocker = [innerType, declaredType].some((type) => type?.startsWith(dockerPrefix));
  return parseImage(document, what, isDocker);
}

function parseIndex(manifests: unknown, what: string): Index {
  return {
    kind: "index",
    manifests: asArray(manifests, `${what}.manifests`, maxIndexEntries).map((entry, i) =>
      parseDescriptor(entry, `${what}.manifests[${i}]`),
    ),
  };
}

/** `isDocker`: the manifest says that it is one of Docker's, which are of images only. */
function parseImage(
  document: Readonly<Record<string, unknown>>,
  what: string,
  isDocker: boolean,
): Manifest {
  const config = parseDescriptor(document["config"], `${what}.config`);
  const layers = optional(document["layers"], `${what}.layers`, asArray) ?? [];
  if (layers.length > maxLayers) {
    throw new AppError(`${what}: ${layers.length} layers, over the limit of ${maxLayers}`, {
      kind: "resource-exhausted",
    });
  }
  if (
    !configTypes.includes(config.mediaType) &&
    !isVagueImage(document, config, layers, isDocker)
  ) {
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

/**
 * Old registries and tools give the config of an image the type `application/octet-stream` or `text/html`. It is one where
 * the manifest is Docker's, or all of its layers say that they are layers of an image.
 */
function isVagueImage(
  document: Readonly<Record<string, unknown>>,
  config: Descriptor,
  layers: readonly unknown[],
  isDocker: boolean,
): boolean {
  if (!vagueType.test(config.mediaType) || document["artifactType"] !== undefined) return false;
  const types = layers.map((layer) => asObject(layer, "layer")["mediaType"]);
  return isDocker || (types.length > 0 && types.every((type) => layerType.test(String(type))));
}

function parseLayer(value: unknown, what: string): Descriptor {
  const layer = parseDescriptor(value, what);
  if (layerType.test(layer.mediaType) || vagueType.test(layer.mediaType)) return layer;
  throw invalidArgument(
    `${what}: not a layer but ${JSON.stringify(layer.mediaType.slice(0, 100))}`,
  );
}

/**
 * The manifests and nested indexes that may be for `node`, best first: those whose platform runs there, the better the
 * earlier, and then those that say nothing of a platform, of which their own contents decide.
 */
export function candidatesIn(index: Index, node: Platform): readonly Descriptor[] {
  const known = index.manifests.filter(
    ({ mediaType }) => acceptedManifestTypes.includes(mediaType) || vagueType.test(mediaType),
  );
  const ranked = known.flatMap((descriptor) => {
    const { platform } = descriptor;
    const rank = platform === undefined ? Number.MAX_VALUE : rankOf(node, platform);
    return rank === undefined ? [] : [{ descriptor, rank }];
  });
  return ranked.toSorted((a, b) => a.rank - b.rank).map(({ descriptor }) => descriptor);
}
