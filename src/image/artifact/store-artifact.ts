import type { Context } from "../../lib/context.ts";
import { kindOf } from "../../lib/errors.ts";
import type { Artifact, ArtifactFile } from "../../oci/artifact.ts";
import { type ChainId, chainIdsOf } from "../../oci/chain-id.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { emptyImageConfig } from "../../oci/image-config.ts";
import { parseManifest } from "../../oci/manifest.ts";
import type { Layer } from "../../snapshot/snapshotter.ts";
import type { ImageDeps } from "../deps.ts";
import { allOrNone } from "../fetch/all-or-none.ts";
import { forgetBlobs } from "../fetch/blob-source.ts";
import { unpackBlob } from "../fetch/fetch-layers.ts";
import { LayerSlots } from "../fetch/layer-slots.ts";
import type { FoundImage } from "../found-image.ts";
import { foundImageId, type Image } from "../image.ts";
import type { ImageRecord } from "../image-record.ts";
import { keepLayers, releaseLayers } from "../kept-layers.ts";
import type { AdmittedImage } from "../signatures/admit.ts";
import { storeSignatures } from "../signatures/stored-signatures.ts";
import { usedLayers } from "../used-layers.ts";
import { asLayer } from "./artifact-layer.ts";

export type StoreArtifactDeps = Pick<
  ImageDeps,
  | ("images" | "layers" | "content" | "kept" | "ingests" | "leases")
  | ("unpacking" | "parallelLayers")
>;

/**
 * `storeImage` for an artifact. Each file is a layer of its own without a parent, so that artifacts share what they
 * have in common. Failed, it leaves the bytes that came, for the next attempt.
 */
export async function storeArtifact(
  ctx: Context,
  deps: StoreArtifactDeps,
  found: AdmittedImage,
  artifact: Artifact,
): Promise<Image> {
  const id = foundImageId(found);
  using kept = new KeptLayers(deps);
  try {
    await fetchFiles(ctx, deps, found, artifact, kept);
    // A file's own layer has its bytes; what was unpacked has them no more.
    const unpacked = found.layers.filter((_, i) => artifact.files[i]?.path === undefined);
    await keepLayers(ctx, deps, { ...found, layers: unpacked });
    if (deps.images.findRecord(id) === undefined) await deps.layers.sync(ctx);
    const configDigest = deps.content.put(found.config);
    const image = deps.images.put({
      id,
      repoTags: found.repoTags,
      repoDigests: found.repoDigests,
      manifestDigests: found.manifests.map((bytes) => deps.content.put(bytes)),
      signatures: storeSignatures(deps, found),
      layers: kept.layers.map(({ diffId, usedBytes }) => ({ diffId, sizeBytes: usedBytes })),
      configSizeBytes: found.config.byteLength,
      config: emptyImageConfig,
      artifact: { type: artifact.type, configDigest },
      pinned: found.pinned,
    });
    forgetBlobs(found.source, found.layers);
    return image;
  } catch (err) {
    if (kindOf(err) === "resource-exhausted") forgetBlobs(found.source, found.layers);
    releaseLayers(
      deps,
      found.layers.map(({ digest }) => digest),
      deps.images.listRecords(),
    );
    kept[Symbol.dispose]();
    await deps.layers.removeUnused(ctx, kept.chain(), usedLayers(deps));
    throw err;
  }
}

async function fetchFiles(
  ctx: Context,
  deps: Pick<ImageDeps, "images" | "layers" | "content" | "unpacking" | "parallelLayers">,
  found: FoundImage,
  { files }: Artifact,
  kept: KeptLayers,
): Promise<void> {
  const known = knownFiles(deps, found);
  const fetching = { ...found, slots: new LayerSlots(deps.parallelLayers) };
  await allOrNone(ctx, files, async (inner, file, i) => {
    const blob = found.layers[i];
    if (blob === undefined) throw new TypeError("a file without a blob");
    const diffId = known.get(keyOf(file, blob));
    if (diffId !== undefined && kept.take(i, diffId)) {
      found.onBytes(blob.sizeBytes, blob);
      return;
    }
    const { path } = file;
    await using unpacked = await unpackBlob(inner, deps, fetching, {
      blob,
      ...(path !== undefined && { asTar: (bytes) => asLayer(path, blob, bytes) }),
    });
    kept.hold(unpacked.diffId);
    await deps.layers.commit(inner, unpacked, [unpacked.diffId]);
    kept.take(i, unpacked.diffId);
  });
}

/** The layers of one artifact, in the order of its files; none of them goes until this is disposed. */
class KeptLayers implements Disposable {
  readonly layers: Layer[] = [];
  readonly #deps: Pick<ImageDeps, "layers">;
  readonly #holds = new DisposableStack();
  readonly #held = new Set<ChainId>();

  constructor(deps: Pick<ImageDeps, "layers">) {
    this.#deps = deps;
  }

  hold(diffId: Digest): void {
    const chain = chainIdsOf([diffId]);
    this.#holds.use(this.#deps.layers.hold(chain));
    for (const id of chain) this.#held.add(id);
  }

  /** Makes it the layer of that file, if it is there. */
  take(index: number, diffId: Digest): boolean {
    const [chainId] = chainIdsOf([diffId]);
    const layer = chainId === undefined ? undefined : this.#deps.layers.find(chainId);
    if (layer === undefined) return false;
    this.hold(diffId);
    this.layers[index] = layer;
    return true;
  }

  chain(): readonly ChainId[] {
    return [...this.#held];
  }

  [Symbol.dispose](): void {
    this.#holds.dispose();
  }
}

/** What artifacts of the store have, this one among them: a layer's name is known only when it has been made. */
function knownFiles(
  deps: Pick<ImageDeps, "images" | "content">,
  found: FoundImage,
): ReadonlyMap<string, Digest> {
  const known = new Map<string, Digest>();
  for (const record of deps.images.listRecords()) {
    if (record.artifact === undefined) continue;
    for (const [i, [file, blob]] of filesOf(deps, record, found).entries()) {
      const layer = record.layers[i];
      if (layer !== undefined) known.set(keyOf(file, blob), layer.diffId);
    }
  }
  return known;
}

function filesOf(
  deps: Pick<ImageDeps, "content">,
  { id, layers }: ImageRecord,
  { manifests }: FoundImage,
): readonly (readonly [ArtifactFile, Descriptor])[] {
  const own = manifests.at(-1);
  try {
    const isOwn = own !== undefined && digestOf(own) === id;
    const bytes = isOwn ? own : deps.content.get(id);
    const parsed = parseManifest(bytes, `manifest ${id}`);
    if (parsed.kind !== "manifest" || parsed.artifact?.files.length !== layers.length) return [];
    return parsed.artifact.files.flatMap((file, i) => {
      const blob = parsed.layers[i];
      return blob === undefined ? [] : [[file, blob] as const];
    });
  } catch {
    // Its manifest is damaged: nothing is known of it, and what it has is fetched.
    return [];
  }
}

function keyOf({ path }: ArtifactFile, { digest, sizeBytes }: Descriptor): string {
  return JSON.stringify([path ?? null, digest, sizeBytes]);
}
