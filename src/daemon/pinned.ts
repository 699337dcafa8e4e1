import type { Image } from "../image/image.ts";

/**
 * Whether an image is pinned: imported from an archive, or one of its names matches a pattern of `images.pinned`.
 * In a pattern `*` stands for any characters; names are whole, `registry/repository:tag` or `...@digest`.
 */
export function pinnedBy(patterns: readonly string[]): (image: Image) => boolean {
  const parts = patterns.map((pattern) => pattern.split("*"));
  return (image) =>
    image.pinned ||
    [...image.repoTags, ...image.repoDigests].some((name) =>
      parts.some((fixed) => matches(name, fixed)),
    );
}

/** The fixed parts of a pattern follow each other in `name`, the first at its beginning and the last at its end. */
function matches(name: string, fixed: readonly string[]): boolean {
  const [first = "", ...others] = fixed;
  const last = others.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
