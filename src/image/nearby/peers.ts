import { readFileSync } from "node:fs";
import { type Context, withTimeout } from "../../lib/context.ts";
import { invalidArgument, kindOf } from "../../lib/errors.ts";
import { asObject, optional, parseJson } from "../../lib/json.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { maxImageConfigBytes } from "../../oci/image-config.ts";
import { type Manifest, maxManifestBytes } from "../../oci/manifest.ts";
import { type Reference, repoDigest, repoTag } from "../../oci/reference.ts";
import { openRepositoryOn, type RemoteManifest, type Repository } from "../../registry/client.ts";
import { apiUrl, plainHost, type RegistryHost } from "../../registry/hosts/registry-host.ts";
import type { ImageDeps } from "../deps.ts";
import { documentsOn, registrySource } from "../fetch/registry-source.ts";
import { type ImageId, imageIdOf } from "../image.ts";
import { checkChain, originalsIn } from "../portable-manifest.ts";
import { resolveManifest } from "../resolve-manifest.ts";
import { imageTag } from "../served-images.ts";
import { registrySignatures } from "../signatures/registry-signatures.ts";
import { LivingHosts } from "./living-hosts.ts";
import type { ImageProvider, NearbyImage } from "./nearby.ts";

export interface PeerOptions {
  /** Where other nodes serve their images: URLs. */
  readonly urls: readonly string[];
  /** PEM file of authorities for those that are https, besides the node's own; empty is none. */
  readonly ca: string;
  /** Whether a tag is what the first peer that knows it says; otherwise peers are asked by digest only. */
  readonly resolveTags: boolean;
}

type Deps = Pick<ImageDeps, "ingests" | "downloads" | "kept" | "registry" | "platform">;

/** Documents come from the machine next door, or not at all: a pull waits this long before it asks the registry. */
const findMs = 5000;

/**
 * The other nodes of the site as a provider. They have layers uncompressed, by diffID. All of them that live are asked, and
 * a layer that one fails to send comes from the next. Whether an image is what its digest says is verified here as ever; what
 * a tag means is the peers' word.
 */
export function openPeers(options: PeerOptions, deps: Deps): ImageProvider {
  const living = new LivingHosts(hostsOf(options));
  return {
    name: "peers",
    async find(ctx, reference) {
      if (reference.digest === undefined && !options.resolveTags) return undefined;
      const hosts = await living.list(ctx);
      if (hosts.length === 0) return undefined;
      const repository = openRepositoryOn(hosts, reference, deps.registry);
      try {
        return await findOn(withTimeout(ctx, findMs), deps, repository, reference);
      } catch (err) {
        if (kindOf(err) === "not-found") return undefined;
        throw err;
      }
    },
  };
}

function hostsOf({ urls, ca }: PeerOptions): readonly RegistryHost[] {
  try {
    const authorities = ca === "" ? [] : [{ path: ca, pem: readFileSync(ca, "utf8") }];
    return urls.map((url) => ({ ...plainHost(apiUrl(url)), ca: authorities, isMirror: true }));
  } catch (cause) {
    throw invalidArgument("mirror.peers", cause);
  }
}

async function findOn(
  ctx: Context,
  deps: Deps,
  repository: Repository,
  reference: Reference,
): Promise<NearbyImage> {
  const { tag, digest } = reference;
  const byDigest =
    digest === undefined ? undefined : await findOriginals(ctx, deps, repository, digest);
  const name = byDigest === undefined ? (tag ?? "latest") : imageTag(byDigest.id);
  const named = await repository.fetchManifest(ctx, name);
  const { manifest, manifests } = await resolveManifest(
    documentsOn(ctx, repository),
    named,
    deps.platform,
  );
  const made = manifest.artifact === undefined ? originalsIn(annotationsOf(named)) : undefined;
  const documents =
    byDigest?.documents ??
    // A peer that has kept the layers, or has an artifact, returns what the registry did.
    (made === undefined ? manifests : await fetchAll(ctx, repository, made));
  if (documents.length > 0) checkChain(documents, idOf(manifest, manifests));
  const [outermost] = documents;
  const own = repoTag(reference);
  return {
    repoTags: own === undefined ? [] : [own],
    repoDigests: outermost === undefined ? [] : [repoDigest(reference, digestOf(outermost))],
    manifests: documents,
    configDigest: manifest.config.digest,
    config: await repository.fetchBlob(ctx, manifest.config, maxImageConfigBytes),
    layers: manifest.layers,
    artifact: manifest.artifact,
    signatures: {
      find: (inner, subject) =>
        registrySignatures(() => repository).find(withTimeout(inner, findMs), subject),
    },
    source: registrySource(deps, repository),
  };
}

async function findOriginals(ctx: Context, deps: Deps, repository: Repository, digest: Digest) {
  const named = await repository.fetchManifest(ctx, digest);
  const { manifest, manifests } = await resolveManifest(
    documentsOn(ctx, repository),
    named,
    deps.platform,
  );
  return { documents: manifests, id: idOf(manifest, manifests) };
}

function idOf(manifest: Manifest, documents: readonly Uint8Array[]): ImageId {
  return imageIdOf(manifest, digestOf(documents.at(-1) ?? ""));
}

async function fetchAll(ctx: Context, repository: Repository, digests: readonly Digest[]) {
  return await Promise.all(
    digests.map(async (digest) => (await repository.fetchManifest(ctx, digest)).bytes),
  );
}

function annotationsOf({ bytes, digest }: RemoteManifest): Readonly<Record<string, unknown>> {
  const what = `manifest ${digest}`;
  const document = asObject(parseJson(bytes, what, { maxBytes: maxManifestBytes }), what);
  return optional(document["annotations"], what, asObject) ?? {};
}
