import { readLimited } from "../lib/collect.ts";
import type { Context } from "../lib/context.ts";
import { asArray, asObject, parseJson } from "../lib/json.ts";
import type { Digest } from "../oci/digest.ts";
import { maxManifestBytes } from "../oci/manifest.ts";
import type { HostClient } from "./host-client.ts";
import { Progress } from "./progress.ts";
import { RegistryError } from "./registry-error.ts";

const indexType = "application/vnd.oci.image.index.v1+json";
/** A registry that lists one a page has to be followed as well; one that lists for ever has not. */
const maxPages = 100;

/**
 * What one host lists as referring to a manifest (distribution-spec, listing referrers): an index a page. Not found
 * where it lists nothing. What comes after as much as one index may hold is left out.
 */
export async function fetchReferrers(
  ctx: Context,
  client: HostClient,
  digest: Digest,
  stallMs: number,
): Promise<readonly Uint8Array[]> {
  const what = `referrers of ${digest}`;
  const pages: Uint8Array[] = [];
  let bytesLeft = maxManifestBytes;
  let query: string | undefined = "";
  for (let asked = 0; query !== undefined && asked < maxPages && bytesLeft > 0; asked++) {
    const progress = new Progress(stallMs);
    const { body, headers } = await client.get(ctx, `referrers/${digest}`, {
      headers: { accept: indexType },
      signal: progress.signal,
      query,
    });
    const bytes = await readLimited(progress.watch(body, what), maxManifestBytes);
    const document = asObject(parseJson(bytes, what, { maxBytes: maxManifestBytes }), what);
    if (asArray(document["manifests"], what).length > 0) pages.push(bytes);
    bytesLeft -= bytes.byteLength;
    query = nextQuery(headers.get("link"));
  }
  if (pages.length === 0) throw new RegistryError(what, 404);
  return pages;
}

/** Of the link that is `next` (RFC 8288). It leads to more of the same list, so all else of its URL is not believed. */
function nextQuery(header: string | null): string | undefined {
  const links = header?.matchAll(/<([^<>]*)>([^<]*)/g) ?? [];
  for (const [, target = "", parameters = ""] of links) {
    if (!/;\s*rel\s*=\s*"?next"?\s*(?:[;,]|$)/i.test(parameters)) continue;
    const at = target.indexOf("?");
    return at < 0 ? undefined : target.slice(at + 1);
  }
  return undefined;
}
