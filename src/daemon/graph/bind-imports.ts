import { importArchive } from "../../image/archive/import.ts";
import type { ImageId } from "../../image/image.ts";
import type { ImportDirectoryDeps } from "../../image/imports/import-directory.ts";
import type { OpenImages } from "../../image/open.ts";
import { pullImage } from "../../image/pull.ts";
import { parseReference } from "../../oci/reference.ts";

/** The operations as the import of a directory calls them. */
export function bindImports(
  images: OpenImages,
  registries: readonly string[],
): ImportDirectoryDeps {
  return {
    importArchive: (ctx, path) => importArchive(ctx, images, path, { pinned: true, registries }),
    async pullPinned(ctx, name) {
      const known = images.images.find(name);
      if (known === undefined) {
        return await pullImage(ctx, images, parseReference(name), { pinned: true });
      }
      images.images.setPinned(known.id, true);
      return known;
    },
    hasImage: (id) => images.images.find(id) !== undefined,
    unpin: (id) => images.images.setPinned(id as ImageId, false),
  };
}
