import { failedPrecondition, invalidArgument, notFound } from "../lib/errors.ts";
import { formatReference, parseReference } from "../oci/reference.ts";
import type { ImageDeps } from "./deps.ts";
import type { Image } from "./image.ts";

type TagDeps = Pick<ImageDeps, "images">;

/** Gives an image a further name; an image that has the name loses it. Throws `not-found`. */
export function tagImage(deps: TagDeps, nameOrId: string, name: string): Image {
  const record = deps.images.findRecord(nameOrId);
  if (record === undefined) throw notFound(`no image ${JSON.stringify(nameOrId.slice(0, 300))}`);
  return deps.images.put({ ...record, repoTags: [parseTag(name)] });
}

/** Takes a name from an image that has others. Throws `not-found`, and `failed-precondition` for its only one. */
export function untagImage(deps: TagDeps, name: string): void {
  const tag = parseTag(name);
  const record = deps.images.findRecord(tag);
  if (!record?.repoTags.includes(tag)) throw notFound(`no image ${JSON.stringify(tag)}`);
  if (record.repoTags.length === 1) {
    throw failedPrecondition(`untag ${tag}: it is the only name of image ${record.id}`);
  }
  deps.images.removeTag(tag);
}

/** In full: `busybox` is docker.io/library/busybox:latest. */
function parseTag(name: string): string {
  const reference = parseReference(name);
  const full = formatReference(reference);
  if (full.includes("@")) throw invalidArgument(`${name}: a digest is no name to give`);
  return full;
}
