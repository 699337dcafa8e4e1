import { formatReference, type Reference, referenceName } from "../oci/reference.ts";

/**
 * The scopes of a policy's transport `docker` that hold an image, the narrowest first (containers-policy.json(5)): its whole
 * name, its repository, the namespaces above, the host, `*.` and each domain above that, and the empty one.
 */
export function scopesOf(reference: Reference): readonly string[] {
  const name = referenceName(reference);
  const scopes = [formatReference(reference)];
  for (let end = name.length; end > 0; end = name.lastIndexOf("/", end - 1)) {
    scopes.push(name.slice(0, end));
  }
  return [...scopes, ...domainsAbove(reference.registry), ""];
}

function domainsAbove(registry: string): readonly string[] {
  if (registry.startsWith("[")) return [];
  const labels = registry.replace(/:\d+$/, "").split(".");
  return labels.slice(1).map((_, i) => `*.${labels.slice(i + 1).join(".")}`);
}
