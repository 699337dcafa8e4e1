import type { Context } from "../lib/context.ts";
import { invalidArgument } from "../lib/errors.ts";
import { openArchive } from "./archive-file.ts";
import { readArchivedImages } from "./archive-images.ts";
import type { ImageDeps } from "./deps.ts";
import type { Image } from "./image.ts";
import { storeImage } from "./store-image.ts";

export interface ImportOptions {
  /** Image garbage collection leaves them alone. */
  readonly pinned?: boolean;
}

/**
 * Imports every image for this platform from an uncompressed tar archive, as `docker save` or an OCI image layout has it.
 * Verified like a pull. Images that came before one that fails stay.
 */
export async function importArchive(
  ctx: Context,
  deps: ImageDeps,
  path: string,
  options: ImportOptions = {},
): Promise<readonly Image[]> {
  await using archive = await openArchive(ctx, path);
  const images: Image[] = [];
  for (const { fileOf, ...found } of await readArchivedImages(archive, deps.platform)) {
    const source = {
      readBlob: (_: Context, { digest }: { readonly digest: string }) => {
        const file = fileOf.get(digest as never);
        if (file === undefined) throw invalidArgument(`${path}: no blob ${digest}`);
        return archive.stream(file);
      },
    };
    const pinned = options.pinned ?? false;
    images.push(await storeImage(ctx, deps, { ...found, source, pinned, onBytes: () => {} }));
  }
  if (images.length === 0) throw invalidArgument(`${path}: no image for this platform`);
  return images;
}
