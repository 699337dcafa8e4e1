import { AppError, invalidArgument, notFound } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { parseImageConfig } from "../oci/image-config.ts";
import { candidatesIn, type Index, type Manifest, parseManifest } from "../oci/manifest.ts";
import { formatPlatform, isRunnable, normalizePlatform, type Platform } from "../oci/platform.ts";

const maxIndexDepth = 4;
/** Of entries that say nothing of a platform each has to be read. */
const maxDocuments = 64;

export interface ResolvedManifest {
  readonly manifest: Manifest;
  /** From what the name led to down to the manifest. */
  readonly manifests: readonly Uint8Array[];
}

/** A document that names others, as it came. */
export interface ManifestDocument {
  readonly bytes: Uint8Array;
  readonly mediaType: string | undefined;
  readonly digest: Digest;
}

/** Where the documents of an image are: a registry, an archive. What they give is verified. */
export interface DocumentSource {
  readonly manifest: (descriptor: Descriptor) => Promise<Omit<ManifestDocument, "digest">>;
  readonly config: (descriptor: Descriptor) => Promise<Uint8Array>;
}

/**
 * From what a name led to down to the manifest for `node`, as containerd chooses: in an index, the best of the entries
 * whose platform runs here; what an entry says is believed, not what its config says. Entries without a platform are
 * looked into, the first that fits is taken; a manifest that no index names is taken whatever it is for. Throws
 * `not-found` where nothing is for this node.
 */
export async function resolveManifest(
  source: DocumentSource,
  named: ManifestDocument,
  node: Platform,
): Promise<ResolvedManifest> {
  const found = await new Resolver(source, node).resolve(named, 0);
  if (found !== undefined) return found;
  const parsed = parseManifest(named.bytes, `manifest ${named.digest}`, named.mediaType);
  const offers = parsed.kind === "index" ? offersOf(parsed) : "";
  throw notFound(`manifest ${named.digest}: no image for ${formatPlatform(node)}${offers}`);
}

/** For the message. */
function offersOf({ manifests }: Index): string {
  const platforms = manifests.flatMap(({ platform }) =>
    platform === undefined || platform.os === "unknown" ? [] : formatPlatform(platform),
  );
  if (platforms.length === 0) return "";
  return `, but for ${[...new Set(platforms)].slice(0, 20).join(", ")}`;
}

class Resolver {
  readonly #source: DocumentSource;
  readonly #node: Platform;
  #documents = 0;

  constructor(source: DocumentSource, node: Platform) {
    this.#source = source;
    this.#node = node;
  }

  async resolve(document: ManifestDocument, depth: number): Promise<ResolvedManifest | undefined> {
    const { bytes, digest, mediaType } = document;
    const parsed = parseManifest(bytes, `manifest ${digest}`, mediaType);
    if (parsed.kind === "manifest") return { manifest: parsed, manifests: [bytes] };
    if (depth === maxIndexDepth - 1) {
      throw invalidArgument(`manifest ${digest}: indexes nested over ${maxIndexDepth} deep`);
    }
    const candidates = candidatesIn(parsed, this.#node);
    for (const candidate of candidates) {
      const found = await this.resolve(await this.#fetch(candidate), depth + 1);
      if (found === undefined) continue;
      const isTold = candidate.platform !== undefined || found.manifests.length > 1;
      if (isTold || candidates.length === 1 || (await this.#isForNode(found.manifest))) {
        return { ...found, manifests: [bytes, ...found.manifests] };
      }
    }
    return undefined;
  }

  async #fetch(descriptor: Descriptor): Promise<ManifestDocument> {
    if (++this.#documents > maxDocuments) {
      throw new AppError(`over ${maxDocuments} manifests without a platform`, {
        kind: "resource-exhausted",
      });
    }
    const { bytes, mediaType } = await this.#source.manifest(descriptor);
    if (bytes.byteLength !== descriptor.sizeBytes) {
      throw new AppError(`manifest ${descriptor.digest}: not ${descriptor.sizeBytes} bytes`, {
        kind: "data-loss",
      });
    }
    return { bytes, mediaType, digest: digestOf(bytes) };
  }

  /** By its config, where nothing else says it. */
  async #isForNode({ artifact, config }: Manifest): Promise<boolean> {
    if (artifact !== undefined) return false;
    const bytes = await this.#source.config(config);
    const { os, architecture, variant } = parseImageConfig(bytes, `image config ${config.digest}`);
    if (architecture === "") return true;
    return isRunnable(this.#node, normalizePlatform({ os, architecture, variant }));
  }
}
