import { createReadStream, statSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Context } from "../../lib/context.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { compressionOf } from "../../snapshot/layer/decompress.ts";
import type { Image } from "../image.ts";
import { storeImage } from "../store-image.ts";
import type { ImageArchive } from "./archive.ts";
import { ArchiveDirectory } from "./archive-directory.ts";
import { openArchive } from "./archive-file.ts";
import { checkForeign, readArchivedImages } from "./archive-images.ts";
import { admitArchived } from "./archive-signatures.ts";
import { withRegistries } from "./import-names.ts";
import { type ImportDeps, type ImportOptions, importStream } from "./import-stream.ts";

const readBytes = 1 << 18;

/**
 * Imports every image for this platform from an archive as `docker save` writes it or an OCI image layout: a tar file,
 * plain or as gzip or zstd, or a directory. Verified like a pull, signatures too. Images for other platforms are left out,
 * with a line in the log each. Images that came before one that fails stay. A tag that another image had is taken from it.
 */
export async function importArchive(
  ctx: Context,
  deps: ImportDeps,
  path: string,
  options: ImportOptions = {},
): Promise<readonly Image[]> {
  try {
    if (statSync(path).isDirectory()) {
      return await importFrom(ctx, deps, new ArchiveDirectory(path), options);
    }
    if (await isCompressed(path)) {
      const bytes = createReadStream(path, { highWaterMark: readBytes });
      return await importStream(ctx, deps, bytes, options);
    }
    await using archive = await openArchive(ctx, path);
    return await importFrom(ctx, deps, archive, options);
  } catch (cause) {
    throw new Error(`import ${path}`, { cause });
  }
}

/** What is there already is not read, and layers come side by side: any of them can be read at any time. */
async function importFrom(
  ctx: Context,
  deps: ImportDeps,
  archive: ImageArchive,
  { pinned = false, registries = [] }: ImportOptions,
): Promise<readonly Image[]> {
  const images: Image[] = [];
  const contents = await readArchivedImages(archive, deps.platform);
  for (const { fileOf, ...found } of contents.images) {
    const source = {
      readBlob: (_: Context, { digest }: Descriptor) => {
        const file = fileOf.get(digest);
        if (file === undefined) throw invalidArgument(`no blob ${digest}`);
        return archive.stream(file);
      },
    };
    const names = withRegistries(found, registries);
    const complete = { ...found, ...names, source, pinned, onBytes: () => {} };
    const admitted = await admitArchived(ctx, deps, complete, archive);
    images.push(await storeImage(ctx, deps, admitted));
  }
  checkForeign(ctx, deps, contents);
  return images;
}

async function isCompressed(path: string): Promise<boolean> {
  await using file = await open(path, "r");
  const head = Buffer.alloc(6);
  const { bytesRead } = await file.read(head, 0, head.byteLength, 0);
  refuseOther(head.subarray(0, bytesRead));
  return compressionOf(head.subarray(0, bytesRead)) !== "none";
}

/** What k3s reads, or people have, and we do not: no archive of images begins with a file of such a name. */
const otherCompressions = {
  bzip2: "425a68",
  lz4: "04224d18",
  xz: "fd377a585a00",
} as const;

function refuseOther(head: Buffer): void {
  for (const [name, magic] of Object.entries(otherCompressions)) {
    if (head.toString("hex").startsWith(magic)) {
      throw invalidArgument(
        `compressed with ${name}, which is not read: use gzip or zstd, or none`,
      );
    }
  }
}
