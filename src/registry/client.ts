import { backoff } from "../lib/backoff.ts";
import type { Context } from "../lib/context.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { acceptedManifestTypes, maxManifestBytes } from "../oci/manifest.ts";
import type { Reference } from "../oci/reference.ts";
import { readBlob } from "./blob.ts";
import { type Credentials, credentialsFor } from "./credentials.ts";
import { HostClient } from "./host-client.ts";
import { type RegistryHost, readHosts } from "./hosts.ts";
import { RegistryError, readLimited } from "./registry-error.ts";

const attempts = 4;
const firstBackoffMs = 250;

export interface RegistryOptions {
  /** Where `<host>/hosts.toml` files are, first found first. */
  readonly configDirs: readonly string[];
}

/** A manifest or index as the registry has it; `digest` is of these bytes. */
export interface RemoteManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string | undefined;
  readonly digest: Digest;
}

/** One image's repository, for the time of one pull. The hosts are asked in order; the first that has the thing serves it. */
export class Repository {
  readonly #hosts: readonly HostClient[];

  constructor(hosts: readonly RegistryHost[], reference: Reference, credentials?: Credentials) {
    const own = credentialsFor(reference.registry, credentials);
    this.#hosts = hosts.map((host) => new HostClient(host, reference, own));
  }

  /** By tag: asked once a pull, so that all of it is of one moment. By digest: verified. */
  async fetchManifest(ctx: Context, tagOrDigest: string | Digest): Promise<RemoteManifest> {
    const isDigest = tagOrDigest.includes(":");
    return await this.#firstOf(ctx, isDigest ? "pull" : "resolve", async (client) => {
      const response = await client.get(ctx, `manifests/${tagOrDigest}`, {
        headers: { accept: acceptedManifestTypes.join(", ") },
        signal: ctx.signal,
      });
      const bytes = await readLimited(response, maxManifestBytes);
      const digest = digestOf(bytes);
      const claimed = isDigest ? tagOrDigest : response.headers.get("docker-content-digest");
      if (claimed?.startsWith("sha256:") && claimed !== digest) {
        throw new AppError(`manifest is ${digest} and not ${claimed}`, { kind: "data-loss" });
      }
      const mediaType = response.headers.get("content-type")?.split(";", 1)[0]?.trim();
      return { bytes, mediaType, digest };
    });
  }

  /** The blob's bytes as they come, taken up again after a broken connection; not verified. */
  readBlob(ctx: Context, blob: Descriptor): AsyncGenerator<Uint8Array> {
    return readBlob(ctx, this.#able("pull"), blob);
  }

  #able(capability: string): readonly HostClient[] {
    return this.#hosts.filter(({ host }) => host.capabilities.includes(capability));
  }

  async #firstOf<T>(
    ctx: Context,
    capability: string,
    ask: (client: HostClient) => Promise<T>,
  ): Promise<T> {
    let failure: unknown = new RegistryError(`no host is configured to ${capability}`, 0);
    for (const client of this.#able(capability)) {
      try {
        return await retrying(ctx, () => ask(client));
      } catch (err) {
        ctx.signal.throwIfAborted();
        ctx.log.debug("registry host failed", { host: client.host.base.host, err: describe(err) });
        failure = err;
      }
    }
    throw failure;
  }
}

async function retrying<T>(ctx: Context, ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (err) {
      ctx.signal.throwIfAborted();
      if (!(err instanceof RegistryError && err.isTransient) || attempt === attempts) throw err;
      await backoff(attempt, ctx.signal, { firstMs: firstBackoffMs, atLeastMs: err.retryAfterMs });
    }
  }
}

/** Opens the repository of an image: reads how its registry is reached, asks nothing yet. */
export function openRepository(
  options: RegistryOptions,
  reference: Reference,
  credentials?: Credentials,
): Repository {
  return new Repository(readHosts(options.configDirs, reference.registry), reference, credentials);
}
