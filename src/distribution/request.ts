import type { ServedName } from "../image/served-images.ts";
import { type Digest, isDigest } from "../oci/digest.ts";

/** What a request for a path below `/v2/` wants. */
export type DistributionRequest =
  | { readonly kind: "base" }
  | { readonly kind: "tags"; readonly name: ServedName }
  | { readonly kind: "manifest"; readonly name: ServedName; readonly reference: string }
  | { readonly kind: "blob"; readonly name: ServedName; readonly digest: Digest };

const maxUrlLength = 1024;
const repositoryPattern = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/;
const registryPattern = /^[a-zA-Z0-9.:[\]-]{1,255}$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/;

/** Undefined for anything that is not the specification's. `?ns=` says which registry is meant. */
export function parseRequest(url: string): DistributionRequest | undefined {
  if (url.length > maxUrlLength || !URL.canParse(url, "http://any")) return undefined;
  const { pathname, searchParams } = new URL(url, "http://any");
  if (pathname === "/v2/" || pathname === "/v2") return { kind: "base" };
  const [, repository = "", kind, last = ""] =
    /^\/v2\/(.+)\/(tags|manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
  const registry = searchParams.get("ns") ?? undefined;
  if (registry !== undefined && !registryPattern.test(registry)) return undefined;
  if (!repositoryPattern.test(repository) || repository.length > 255) return undefined;
  const name = { registry, repository };
  if (kind === "tags") return last === "list" ? { kind, name } : undefined;
  if (kind === "blobs") return isDigest(last) ? { kind: "blob", name, digest: last } : undefined;
  const isReference = isDigest(last) || tagPattern.test(last);
  return isReference ? { kind: "manifest", name, reference: last } : undefined;
}
