import type { Ingest } from "../../content/ingest.ts";
import type { IngestLease } from "../../content/ingest-store.ts";
import { abortable } from "../../lib/abortable.ts";
import type { Context } from "../../lib/context.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { Digester } from "../../oci/digest.ts";
import { maxImageConfigBytes } from "../../oci/image-config.ts";
import type { Repository } from "../../registry/client.ts";
import type { ImageDeps } from "../deps.ts";
import type { DocumentSource } from "../resolve-manifest.ts";
import type { ComingBlobs, OpenBlob } from "./blob-source.ts";

type Deps = Pick<ImageDeps, "ingests" | "downloads" | "kept">;

/**
 * Blobs of one repository, for one pull. They come into an ingest and are read from there while they grow: several
 * connections fill it in any order, a pull that fails leaves it to the next one, and what two pulls want comes once.
 */
export function registrySource(deps: Deps, repository: Repository): ComingBlobs {
  // By blob: a host that has one wrong may have the others right.
  const distrusted = new Map<string, Set<string>>();
  const { registry: origin } = repository;
  return {
    origin,
    openBlob(ctx, blob) {
      if (deps.kept.find(blob.digest) !== undefined) return openKept(ctx, deps, blob);
      const hosts = distrusted.get(blob.digest) ?? new Set();
      distrusted.set(blob.digest, hosts);
      return new RegistryBlob(ctx, deps, repository, blob, hosts);
    },
    forget(blobs) {
      for (const blob of blobs) deps.ingests.remove({ ...blob, origin });
    },
  };
}

/** What another image has kept need not come again. */
function openKept(ctx: Context, { kept }: Deps, { digest, sizeBytes }: Descriptor): OpenBlob {
  ctx.count?.("image.saved_bytes", sizeBytes, "blob");
  return {
    bytes: kept.read(ctx, digest),
    fetched: Promise.resolve(),
    async isWrong(own) {
      if ((await kept.verify(own, digest)) === undefined) return false;
      kept.remove(digest);
      return true;
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** The documents of images in one repository. */
export function documentsOn(ctx: Context, repository: Repository): DocumentSource {
  return {
    manifest: ({ digest }) => repository.fetchManifest(ctx, digest),
    config: (config) => repository.fetchBlob(ctx, config, maxImageConfigBytes),
  };
}

class RegistryBlob implements OpenBlob {
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly fetched: Promise<void>;
  readonly #deps: Deps;
  readonly #repository: Repository;
  readonly #blob: Descriptor;
  readonly #distrusted: Set<string>;
  readonly #lease: IngestLease;
  readonly #closed = new AbortController();

  constructor(
    ctx: Context,
    deps: Deps,
    repository: Repository,
    blob: Descriptor,
    distrusted: Set<string>,
  ) {
    this.#deps = deps;
    this.#repository = repository;
    this.#blob = blob;
    this.#distrusted = distrusted;
    this.#lease = deps.ingests.open({ ...blob, origin: repository.registry });
    const { ingest } = this.#lease;
    const signal = AbortSignal.any([ctx.signal, this.#closed.signal]);
    this.fetched = deps.downloads.run(ingest.directory, signal, (shared) => {
      const { storedBytes } = ingest;
      if (storedBytes > 0) ctx.count?.("image.saved_bytes", storedBytes, "resume");
      return repository.download({ ...ctx, signal: shared }, blob, ingest, {
        distrusted,
        onSource: (host) => ingest.sources.add(host),
      });
    });
    this.fetched.catch(() => {});
    this.bytes = ingest.read(signal, this.fetched);
  }

  async isWrong(ctx: Context): Promise<boolean> {
    const { ingest } = this.#lease;
    const hosts = this.#repository.blobHosts();
    const trusted = () => hosts.filter((host) => !this.#distrusted.has(host));
    const hasChoice = trusted().length > 1 || ingest.isResumed;
    if (hasChoice && (await this.#isRight(ctx, ingest))) return false;
    await this.#deps.ingests.discard(ingest);
    if (!hasChoice || this.#blob.sizeBytes === 0) return false;
    const suspect = trusted().find((host) => ingest.sources.has(host));
    if (suspect !== undefined) this.#distrusted.add(suspect);
    return trusted().length > 0;
  }

  async #isRight(ctx: Context, ingest: Ingest): Promise<boolean> {
    try {
      await abortable(this.fetched, ctx.signal);
      const hash = new Digester();
      for await (const chunk of ingest.read(ctx.signal, this.fetched)) hash.update(chunk);
      return hash.digest() === this.#blob.digest;
    } catch {
      ctx.signal.throwIfAborted();
      // Another reader found it wrong and has discarded it, or it cannot be had.
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new Error("nobody reads the blob any more"));
    await this.fetched.catch(() => {});
    await this.#lease[Symbol.asyncDispose]();
  }
}
