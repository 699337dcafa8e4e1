import { AppError } from "../../lib/errors.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";

/** The names of an image in an archive. */
interface Names {
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** Whether it is `host[:port][/path]`, which names can begin with. */
export function isRegistryPrefix(text: string): boolean {
  try {
    return formatReference(parseReference(`${text}/any/image:tag`)) === `${text}/any/image:tag`;
  } catch (err) {
    if (err instanceof AppError) return false;
    throw err;
  }
}

/**
 * Its own names first, then the same repositories below each of the registries, as if it came from there too (k3s's
 * --airgap-extra-registry).
 */
export function withRegistries(
  { repoTags, repoDigests }: Names,
  registries: readonly string[],
): Names {
  const everywhere = (names: readonly string[]) => [
    ...new Set([
      ...names,
      ...registries.flatMap((registry) => names.map((name) => `${registry}/${pathOf(name)}`)),
    ]),
  ];
  return { repoTags: everywhere(repoTags), repoDigests: everywhere(repoDigests) };
}

/** All after the registry. */
function pathOf(name: string): string {
  return name.slice(name.indexOf("/") + 1);
}
