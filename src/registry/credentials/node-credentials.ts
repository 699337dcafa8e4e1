import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { Warn } from "../config-files.ts";
import { type Credentials, canonicalHost, credentialsFor, saysSomething } from "../credentials.ts";
import type { RegistriesFile } from "../hosts/registries-yaml.ts";
import { askHelper } from "./credential-helper.ts";
import { findInDockerConfig } from "./docker-config.ts";

/** Credentials and who gave them, in words. */
export interface FoundCredentials {
  readonly credentials: Credentials;
  readonly from: string;
}

export interface CredentialSources {
  /** What came with the request. */
  readonly request: Credentials | undefined;
  readonly registries: RegistriesFile | undefined;
  readonly dockerConfigFiles: readonly string[];
}

/** For whom credentials are looked up. */
export interface CredentialSubject {
  /** `name[:port]` of the host that is asked, which may be a mirror. */
  readonly host: string;
  /** The registry that the image names. */
  readonly registry: string;
  readonly repository: string;
}

/**
 * The credentials for one repository on one host. The first of these that has any is taken, and no other is tried:
 *
 * 1. The request's own (CRI AuthConfig, which is what the kubelet has from imagePullSecrets and its credential
 *    providers), on the registry's own host and on no mirror.
 * 2. `configs."host".auth` of registries.yaml, then `configs."*"`.
 * 3. Each Docker config.json in the order configured; within one, what fits the repository best (docker-config.ts).
 *
 * Credentials belong to the host that they were written for: a mirror gets those of its own name. A file, an entry or a
 * helper program that cannot be used is left out with a warning, and the next source is asked: most pulls need none.
 */
export async function findCredentials(
  ctx: Context,
  sources: CredentialSources,
  subject: CredentialSubject,
  warn: Warn,
): Promise<FoundCredentials | undefined> {
  const host = canonicalHost(subject.host);
  if (host === canonicalHost(subject.registry)) {
    const request = credentialsFor(subject.registry, sources.request);
    if (saysSomething(request)) return { credentials: request, from: "the request" };
  }
  const inRegistries = sources.registries?.credentialsFor(host);
  if (saysSomething(inRegistries)) {
    return { credentials: inRegistries, from: sources.registries?.path ?? "" };
  }
  for (const path of sources.dockerConfigFiles) {
    const found = findInDockerConfig(path, host, subject.repository, warn);
    if (found?.kind === "stored") {
      return { credentials: found.credentials, from: `${path} (${found.key})` };
    }
    if (found === undefined) continue;
    const credentials = await askHelper(ctx, found.helper, host).catch((err: unknown) => {
      ctx.signal.throwIfAborted();
      warn(`${path}: ${describe(err)}: left out`);
      return undefined;
    });
    const from = `docker-credential-${found.helper} (${path})`;
    if (saysSomething(credentials)) return { credentials, from };
  }
  return undefined;
}
