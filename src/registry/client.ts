import { existsSync } from "node:fs";
import { readLimited } from "../lib/collect.ts";
import type { Context } from "../lib/context.ts";
import { AppError, type ErrorKind, kindOf } from "../lib/errors.ts";
import { inStep } from "../lib/step.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { acceptedManifestTypes, maxManifestBytes } from "../oci/manifest.ts";
import type { Reference } from "../oci/reference.ts";
import { openRange } from "./blob-range.ts";
import type { Warn } from "./config-files.ts";
import { type FoundCredentials, findCredentials } from "./credentials/node-credentials.ts";
import { type Credentials, credentialsFor } from "./credentials.ts";
import { type BlobSink, downloadBlob, type TransferBudget } from "./download.ts";
import { HostClient } from "./host-client.ts";
import { HostRounds } from "./host-rounds.ts";
import { readHosts } from "./hosts/hosts.ts";
import { noProxy, type ProxySettings } from "./hosts/proxy.ts";
import type { ReadRegistries } from "./hosts/registries-yaml.ts";
import type { RegistryHost } from "./hosts/registry-host.ts";
import { Progress } from "./progress.ts";
import { fetchReferrers } from "./referrers.ts";

export interface RegistryOptions {
  /** Where `<host>/hosts.toml` files are, first found first. */
  readonly configDirs: readonly string[];
  /** k3s's registries.yaml; the first that is there. */
  readonly registriesFiles: readonly string[];
  /** What reads those: megabytes that only nodes with such a file need. */
  readonly loadRegistries: () => Promise<ReadRegistries>;
  /** Docker's config.json; all that are there, in this order. */
  readonly dockerConfigFiles: readonly string[];
  readonly proxy: ProxySettings;
  readonly transfer: TransferBudget;
}

/** A manifest or index as the registry has it; `digest` is of these bytes. */
export interface RemoteManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string | undefined;
  readonly digest: Digest;
}

/** How registries that are older than the referrers API say so, in various ways. */
const notThere: ReadonlySet<ErrorKind> = new Set([
  "not-found",
  "failed-precondition",
  "invalid-argument",
]);

/** How long the head of a response may take. */
const responseTimeoutMs = 30_000;

/** One image's repository, for the time of one pull. The hosts are asked in order; the first that has the thing serves it. */
export class Repository {
  /** As the image names it. */
  readonly registry: string;
  readonly #hosts: readonly HostClient[];
  readonly #transfer: TransferBudget;
  readonly #isPeer: boolean;

  constructor(
    registry: string,
    hosts: readonly HostClient[],
    transfer: TransferBudget,
    { isPeer = false }: { readonly isPeer?: boolean } = {},
  ) {
    this.#isPeer = isPeer;
    this.registry = registry;
    this.#hosts = hosts;
    this.#transfer = transfer;
  }

  /** By tag: asked once a pull, so that all of it is of one moment. By digest: verified. */
  async fetchManifest(ctx: Context, tagOrDigest: string | Digest): Promise<RemoteManifest> {
    const isDigest = tagOrDigest.includes(":");
    return await this.#firstOf(ctx, isDigest ? "pull" : "resolve", async (client) => {
      const progress = new Progress(this.#transfer.stallMs);
      const response = await client.get(ctx, `manifests/${tagOrDigest}`, {
        headers: { accept: acceptedManifestTypes.join(", ") },
        signal: progress.signal,
      });
      const body = progress.watch(response.body, `manifest ${tagOrDigest}`);
      const bytes = await readLimited(body, maxManifestBytes);
      const digest = digestOf(bytes);
      const claimed = isDigest ? tagOrDigest : response.headers.get("docker-content-digest");
      if (claimed?.startsWith("sha256:") && claimed !== digest) {
        throw new AppError(`manifest is ${digest} and not ${claimed}`, { kind: "data-loss" });
      }
      const mediaType = response.headers.get("content-type")?.split(";", 1)[0]?.trim();
      return { bytes, mediaType, digest };
    });
  }

  /**
   * Indexes of what refers to a manifest; none where no host says that anything does, or none has this API. Not
   * verified: no digest is known for them.
   */
  async findReferrers(ctx: Context, digest: Digest): Promise<readonly Uint8Array[]> {
    try {
      return await this.#firstOf(ctx, "resolve", (client) =>
        fetchReferrers(ctx, client, digest, this.#transfer.stallMs),
      );
    } catch (err) {
      if (notThere.has(kindOf(err))) return [];
      throw err;
    }
  }

  /** A small blob, verified. */
  async fetchBlob(ctx: Context, blob: Descriptor, maxBytes: number): Promise<Buffer> {
    if (blob.sizeBytes > maxBytes) {
      throw new AppError(`blob ${blob.digest}: ${blob.sizeBytes} bytes, over ${maxBytes}`, {
        kind: "resource-exhausted",
      });
    }
    return await this.#firstOf(ctx, "pull", async (client) => {
      const whole = { start: 0, end: blob.sizeBytes };
      const { bytes: body } = await openRange(ctx, client, blob, whole, this.#transfer.stallMs);
      const bytes = await readLimited(body, maxBytes);
      if (digestOf(bytes) === blob.digest) return bytes;
      throw new AppError(`blob ${blob.digest}: the bytes are ${digestOf(bytes)}`, {
        kind: "data-loss",
      });
    });
  }

  /** Fetches what `sink` lacks; not verified. Hosts in `distrusted` (`name[:port]`) are left out. */
  async download(
    ctx: Context,
    blob: Descriptor,
    sink: BlobSink,
    options: {
      readonly distrusted: ReadonlySet<string>;
      /** Called for each host that bytes came from. */
      readonly onSource: (host: string) => void;
    },
  ): Promise<void> {
    const clients = this.#able("pull").filter(
      ({ host }) => !options.distrusted.has(host.base.href),
    );
    await downloadBlob(ctx, clients, blob, sink, {
      ...this.#transfer,
      registry: this.registry,
      isPeer: this.#isPeer,
      onSource: ({ host }) => options.onSource(host.base.href),
    });
  }

  /** Where blobs are asked for, in order, as `onSource` calls them. */
  blobHosts(): readonly string[] {
    return this.#able("pull").map(({ host }) => host.base.href);
  }

  #able(capability: string): readonly HostClient[] {
    return this.#hosts.filter(({ host }) => host.capabilities.includes(capability));
  }

  async #firstOf<T>(
    ctx: Context,
    capability: string,
    ask: (client: HostClient) => Promise<T>,
  ): Promise<T> {
    const hosts = new HostRounds(this.#able(capability), capability);
    for (;;) {
      const turn = await hosts.next(ctx);
      try {
        const { host } = turn.client.host.base;
        return await inStep(ctx, "image.resolve", () => ask(turn.client), { host });
      } catch (err) {
        ctx.signal.throwIfAborted();
        hosts.failed(ctx, turn, err);
      }
    }
  }
}

/** The same repository on hosts that serve what they have to anybody: other nodes of the site. */
export function openRepositoryOn(
  hosts: readonly RegistryHost[],
  reference: Reference,
  { transfer }: Pick<RegistryOptions, "transfer">,
): Repository {
  const timeoutMs = Math.min(responseTimeoutMs, transfer.stallMs);
  const options = { proxy: noProxy, timeoutMs, credentials: async () => undefined };
  const clients = hosts.map((host) => new HostClient(host, reference, options));
  return new Repository(reference.registry, clients, transfer, { isPeer: true });
}

/**
 * Opens the repository of an image: reads what the node's files say about its registry, asks nothing yet. What is wrong in
 * them is logged. Throws `failed-precondition` where the registry's own file is none.
 */
export async function openRepository(
  ctx: Context,
  options: RegistryOptions,
  reference: Reference,
  request?: Credentials,
): Promise<Repository> {
  const timeoutMs = Math.min(responseTimeoutMs, options.transfer.stallMs);
  const hosts = await openHosts(options, reference, {
    request,
    timeoutMs,
    warn: (problem) => ctx.log.warn("registry configuration invalid", { err: problem }),
  });
  const clients = hosts.map(({ client }) => client);
  return new Repository(reference.registry, clients, options.transfer);
}

export interface OpenHost {
  readonly client: HostClient;
  readonly findCredentials: (ctx: Context) => Promise<FoundCredentials | undefined>;
}

/** The hosts of an image's registry, as the node's files say now. `warn` gets each problem once. */
export async function openHosts(
  options: Omit<RegistryOptions, "transfer">,
  reference: Reference,
  {
    request,
    timeoutMs,
    warn,
  }: {
    readonly request: Credentials | undefined;
    readonly timeoutMs: number;
    readonly warn: Warn;
  },
): Promise<readonly OpenHost[]> {
  const { registry, repository } = reference;
  const { configDirs, registriesFiles, dockerConfigFiles, proxy } = options;
  const warned = new Set<string>();
  const warnOnce = (problem: string) => {
    if (warned.has(problem)) return;
    warned.add(problem);
    warn(problem);
  };
  const registries = registriesFiles.some((path) => existsSync(path))
    ? (await options.loadRegistries())(registriesFiles, warnOnce)
    : undefined;
  const registryToken = credentialsFor(registry, request)?.registryToken;
  return readHosts(configDirs, registries, registry, warnOnce).map((host) => {
    const subject = { host: host.isMirror ? host.base.host : registry, registry, repository };
    const credentialProblems: string[] = [];
    const findFor = (ctx: Context) =>
      findCredentials(ctx, { request, registries, dockerConfigFiles }, subject, (problem) => {
        if (!credentialProblems.includes(problem)) credentialProblems.push(problem);
        warnOnce(problem);
      });
    const client = new HostClient(host, reference, {
      proxy,
      timeoutMs,
      registryToken: host.isMirror ? "" : registryToken,
      credentials: async (ctx) => (await findFor(ctx))?.credentials,
      credentialProblems,
    });
    return { client, findCredentials: findFor };
  });
}
