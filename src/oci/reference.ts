import type { Brand } from "../lib/brand.ts";
import { invalidArgument } from "../lib/errors.ts";
import { type Digest, isDigest } from "./digest.ts";

interface ReferenceParts {
  /** Host and optional port, as the user named it: never the mirror that serves it. */
  readonly registry: string;
  readonly repository: string;
  /** Exactly one of `tag` and `digest` is there. */
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/** The full name of an image. Only `parseReference` makes one. */
export type Reference = Brand<ReferenceParts, "Reference">;

const defaultRegistry = "docker.io";
const maxTextLength = 1024;
const maxNameLength = 255;

// Each alternative begins with a character that the one before cannot end with: no backtracking.
const host =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,62})(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,62}))*|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?$/;
const component = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/;
const hexId = /^[0-9a-f]{64}$/;

/**
 * `[registry/]repository[:tag][@digest]` with Docker's defaults: docker.io, library/, :latest. A reference with tag
 * and digest names the digest alone, as in containerd. 64 hex digits are an id, no name.
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string) =>
    invalidArgument(`image reference ${JSON.stringify(text.slice(0, maxNameLength))}: ${why}`);
  if (text.length > maxTextLength) throw refuse("too long");
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw refuse("not a sha256 digest");

  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag)) throw refuse("not a tag");

  const name = colon < 0 ? named : named.slice(0, colon);
  if (name === "") throw refuse("empty name");
  if (hexId.test(name)) throw refuse("an id, not a name");
  const { registry, repository } = splitName(name);
  if (!host.test(registry)) throw refuse("not a registry host");
  if (!repository.split("/").every((part) => component.test(part))) {
    throw refuse("a repository is lower-case letters, digits and separators");
  }
  if (registry.length + 1 + repository.length > maxNameLength) throw refuse("name too long");
  return {
    registry,
    repository,
    tag: digest === undefined ? (tag ?? "latest") : undefined,
    digest,
  } as Reference;
}

/** The first part is a host when it looks like one: a dot, a port, `localhost`, or capitals. */
function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = /[.:[]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  const registry = isHost ? first : defaultRegistry;
  const repository = isHost ? name.slice(slash + 1) : name;
  if (registry !== defaultRegistry && registry !== "index.docker.io") {
    return { registry, repository };
  }
  return {
    registry: defaultRegistry,
    repository: repository.includes("/") ? repository : `library/${repository}`,
  };
}

/** `registry/repository`, without tag and digest. */
export function referenceName(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`;
}

export function formatReference(reference: Reference): string {
  return repoTag(reference) ?? `${referenceName(reference)}@${reference.digest}`;
}

/** `registry/repository:tag`; `undefined` for a reference by digest. */
export function repoTag(reference: Reference): string | undefined {
  return reference.tag === undefined ? undefined : `${referenceName(reference)}:${reference.tag}`;
}

/** `registry/repository@digest`, where `digest` is that of the manifest or index the name led to. */
export function repoDigest(reference: Reference, digest: Digest): string {
  return `${referenceName(reference)}@${digest}`;
}
