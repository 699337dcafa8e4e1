import type { Image } from "../../image/image.ts";
import { matchesPattern } from "../../lib/pattern.ts";

/**
 * Whether an image is pinned: imported from an archive, or one of its names matches a pattern of `images.pinned`.
 * In a pattern `*` stands for any characters; names are whole, `registry/repository:tag` or `...@digest`.
 */
export function pinnedBy(patterns: readonly string[]): (image: Image) => boolean {
  return (image) =>
    image.pinned ||
    [...image.repoTags, ...image.repoDigests].some((name) =>
      patterns.some((pattern) => matchesPattern(name, pattern)),
    );
}
