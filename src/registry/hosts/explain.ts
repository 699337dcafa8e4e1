import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { Reference } from "../../oci/reference.ts";
import { openHosts, type RegistryOptions } from "../client.ts";
import type { HostClient } from "../host-client.ts";
import { redactUrl } from "../registry-error.ts";
import { proxyFor } from "./proxy.ts";
import { repositoryOn } from "./registry-host.ts";

/** What would be done with one host, and from which files that comes. Shows no secret. */
export interface HostExplanation {
  readonly url: string;
  readonly isMirror: boolean;
  readonly capabilities: readonly string[];
  /** Undefined where no file says anything, and the defaults hold. */
  readonly file: string | undefined;
  /** The repository's name there. */
  readonly repository: string;
  readonly ca: readonly string[];
  readonly clientCertificates: readonly string[];
  readonly skipVerify: boolean;
  /** Names only. */
  readonly headers: readonly string[];
  readonly proxy: string | undefined;
  /** Where they are from; undefined is none. */
  readonly credentials: string | undefined;
  /** What is wrong in the files, and left out: of all hosts. */
  readonly problems: readonly string[];
  /** What the host says when asked, if it was. */
  readonly response: HostResponse | undefined;
}

export interface HostResponse {
  readonly ok: boolean;
  readonly text: string;
}

/** The hosts that a pull of `reference` would ask, in order; each is asked for its API unless `asks` is false. */
export async function explainRegistry(
  ctx: Context,
  options: Omit<RegistryOptions, "transfer">,
  reference: Reference,
  { asks, timeoutMs }: { readonly asks: boolean; readonly timeoutMs: number },
): Promise<readonly HostExplanation[]> {
  const problems: string[] = [];
  const hosts = await openHosts(options, reference, {
    request: undefined,
    timeoutMs,
    warn: (problem) => void problems.push(problem),
  });
  return await Promise.all(
    hosts.map(async ({ client, findCredentials }) => {
      const { host } = client;
      const proxy = proxyFor(host.base, options.proxy);
      return {
        url: redactUrl(host.base),
        isMirror: host.isMirror,
        capabilities: host.capabilities,
        file: host.file,
        repository: repositoryOn(host, reference.repository),
        ca: host.ca.map(({ path }) => path),
        clientCertificates: host.clientCertificates.map(({ certificate }) => certificate.path),
        skipVerify: host.skipVerify,
        headers: Object.keys(host.headers),
        proxy: proxy === undefined ? undefined : redactUrl(new URL(proxy)),
        credentials: (await findCredentials(ctx))?.from,
        problems,
        response: asks ? await ask(ctx, client) : undefined,
      };
    }),
  );
}

async function ask(ctx: Context, client: HostClient): Promise<HostResponse> {
  try {
    await client.ping(ctx);
    return { ok: true, text: "responds" };
  } catch (err) {
    ctx.signal.throwIfAborted();
    return { ok: false, text: describe(err) };
  }
}
