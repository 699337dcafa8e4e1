import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ChainId } from "../oci/chain-id.ts";
import type { Digest } from "../oci/digest.ts";
import type { ImageDeps } from "./deps.ts";
import type { ImageId } from "./image.ts";
import { chainOf, documentsOf, type ImageRecord, stackOf } from "./image-record.ts";
import { keepableOf } from "./kept-layers.ts";
import type { PullDeps } from "./pull.ts";
import { repairImage } from "./repair.ts";

/** What was found of one layer, manifest, config or kept blob. */
export interface Verdict {
  /** A layer's diffID, or the digest of the document or blob. */
  readonly digest: Digest;
  /** Those that have it. */
  readonly images: readonly ImageId[];
  readonly problem: string | undefined;
  readonly repair: "not tried" | "done" | { readonly failed: string };
}

export interface VerifyOptions {
  /** Names or ids; none is all images. */
  readonly keys: readonly string[];
  readonly repair: boolean;
}

interface Part {
  readonly digest: Digest;
  readonly kind: "document" | "layer" | "blob";
  /** Of layers: the last one is it. */
  readonly diffIds: readonly Digest[] | undefined;
  readonly chainId: ChainId | undefined;
  readonly records: ImageRecord[];
}

/**
 * Compares everything that is stored of images with their digests; with `repair`, what is damaged is fetched again and
 * takes the old one's place, and nothing else is. What several images have is looked at once. Verdicts come as they are
 * found, those of damaged parts that were to be repaired at the end.
 */
export async function* verifyImages(
  ctx: Context,
  deps: PullDeps,
  options: VerifyOptions,
): AsyncGenerator<Verdict> {
  const damaged = new Map<Part, string>();
  for (const part of partsOf(deps, options.keys)) {
    const problem = await problemOf(ctx, deps, part);
    ctx.signal.throwIfAborted();
    if (problem !== undefined)
      ctx.log.warn("damaged image content found", { digest: part.digest, err: problem });
    if (problem !== undefined && options.repair) damaged.set(part, problem);
    else yield verdict(part, problem, "not tried");
  }
  const failures = await repairAll(ctx, deps, [...damaged.keys()]);
  for (const [part, problem] of damaged) {
    const left = isStillWanted(deps, part) ? await problemOf(ctx, deps, part) : undefined;
    const failed = part.records.flatMap(({ id }) => failures.get(id) ?? [])[0] ?? left;
    yield verdict(part, problem, left === undefined ? "done" : { failed: failed ?? "" });
  }
}

/** Documents first, then layers from the lowest up: what lies below is compared before what was taken from it. */
function partsOf(
  deps: Pick<ImageDeps, "images" | "content" | "kept">,
  keys: readonly string[],
): readonly Part[] {
  const wanted = new Set(keys.map((key) => deps.images.get(key).id));
  const parts = new Map<string, Part>();
  const add = (key: string, record: ImageRecord, part: Omit<Part, "records">) => {
    const known = parts.get(key);
    if (known === undefined) parts.set(key, { ...part, records: [record] });
    else if (!known.records.includes(record)) known.records.push(record);
  };
  const records = deps.images.listRecords().filter(({ id }) => wanted.size === 0 || wanted.has(id));
  for (const record of records) {
    for (const digest of documentsOf(record)) {
      add(digest, record, { kind: "document", digest, diffIds: undefined, chainId: undefined });
    }
    for (const digest of keepableOf(deps, record)) {
      if (deps.kept.find(digest) === undefined) continue;
      add(digest, record, { kind: "blob", digest, diffIds: undefined, chainId: undefined });
    }
  }
  for (const record of records) {
    for (const [index, chainId] of chainOf(record).entries()) {
      const diffIds = stackOf(record, index);
      const digest = diffIds.at(-1);
      if (digest === undefined) continue;
      add(chainId, record, { kind: "layer", digest, diffIds, chainId });
    }
  }
  return [...parts.values()];
}

async function problemOf(
  ctx: Context,
  deps: Pick<ImageDeps, "layers" | "content" | "kept">,
  part: Part,
): Promise<string | undefined> {
  if (part.diffIds !== undefined) return await deps.layers.verify(ctx, part.diffIds);
  if (part.kind === "blob") {
    return deps.kept.find(part.digest) && (await deps.kept.verify(ctx, part.digest));
  }
  try {
    deps.content.get(part.digest);
    return undefined;
  } catch (err) {
    return describe(err);
  }
}

/** Not so a signature that was given up. */
function isStillWanted({ images }: Pick<ImageDeps, "images">, { kind, digest }: Part): boolean {
  return (
    kind !== "document" ||
    images.listRecords().some((record) => documentsOf(record).includes(digest))
  );
}

/** Returns why it failed, by image. An image whose damage an earlier one's repair has undone is left alone. */
async function repairAll(
  ctx: Context,
  deps: PullDeps,
  damaged: readonly Part[],
): Promise<ReadonlyMap<ImageId, string>> {
  const failures = new Map<ImageId, string>();
  const left = new Set(damaged);
  for (const part of damaged) {
    for (const record of part.records) {
      if (!left.has(part)) break;
      const own = [...left].filter(({ records }) => records.includes(record));
      try {
        await repairImage(ctx, deps, record, {
          documents: digestsOf(own, "document"),
          blobs: digestsOf(own, "blob"),
          layers: own.flatMap(({ chainId }) => chainId ?? []),
        });
        for (const one of own) left.delete(one);
      } catch (err) {
        ctx.signal.throwIfAborted();
        failures.set(record.id, describe(err));
      }
    }
  }
  return failures;
}

function digestsOf(parts: readonly Part[], kind: Part["kind"]): readonly Digest[] {
  return parts.filter((part) => part.kind === kind).map(({ digest }) => digest);
}

function verdict(part: Part, problem: string | undefined, repair: Verdict["repair"]): Verdict {
  return { digest: part.digest, images: part.records.map(({ id }) => id), problem, repair };
}
