import { AppError } from "../lib/errors.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  referenceName,
} from "../oci/reference.ts";
import type { Image } from "./image.ts";

/**
 * The full name, `registry/repository:tag`, that an image of a container is shown by. `asked` is what the client wrote:
 * that name where the image still has it, else a tag of the same repository, any tag, or a digest.
 */
export function shownImageName(
  image: Pick<Image, "repoTags" | "repoDigests"> | undefined,
  asked: string,
): string {
  const reference = findReference(asked);
  if (image === undefined) return reference === undefined ? asked : formatReference(reference);
  const { repoTags, repoDigests } = image;
  const names = [...repoTags, ...repoDigests];
  const name = reference && formatReference(reference);
  const repository = reference && referenceName(reference);
  const ofRepository = (of: string) => of.startsWith(`${repository}:`);
  return (
    repoTags.find((tag) => tag === name) ??
    repoTags.find(ofRepository) ??
    repoTags[0] ??
    names.find((digest) => digest === name) ??
    repoDigests[0] ??
    asked
  );
}

/** `undefined` for an id. */
function findReference(text: string): Reference | undefined {
  if (/^(?:sha256:)?[0-9a-f]{6,64}$/.test(text)) return undefined;
  try {
    return parseReference(text);
  } catch (err) {
    if (err instanceof AppError) return undefined;
    throw err;
  }
}
