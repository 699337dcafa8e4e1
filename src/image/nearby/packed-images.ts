import { open } from "node:fs/promises";
import { readLayout } from "../../executable/layout.ts";
import type { Context } from "../../lib/context.ts";
import { invalidArgument } from "../../lib/errors.ts";
import { digestOf } from "../../oci/digest.ts";
import type { Platform } from "../../oci/platform.ts";
import { formatReference, type Reference, referenceName, repoDigest } from "../../oci/reference.ts";
import { type ArchiveFile, openArchive } from "../archive/archive-file.ts";
import { type ArchivedImage, readArchivedImages } from "../archive/archive-images.ts";
import { archiveSignatures } from "../archive/archive-signatures.ts";
import type { ImageProvider, NearbyImage } from "./nearby.ts";

/** The images that `crib pack` put into an executable. They are read from there when they are pulled, and nowhere else before. */
export interface PackedImages extends ImageProvider, AsyncDisposable {
  /** In full, each. */
  readonly names: readonly string[];
}

/** Undefined for an executable without any. Only documents are read. */
export async function openPackedImages(
  ctx: Context,
  executable: string,
  platform: Platform,
): Promise<PackedImages | undefined> {
  await using file = await open(executable, "r");
  const { images: section } = await readLayout(file);
  if (section === undefined) return undefined;
  await using rollback = new AsyncDisposableStack();
  const archive = rollback.use(await openArchive(ctx, executable, section));
  const { images } = await readArchivedImages(archive, platform);
  const resources = rollback.move();
  return {
    name: "executable",
    names: images.flatMap(({ repoTags }) => repoTags),
    find: async (_, reference) => findArchived(archive, images, reference),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const demoRepository = "crib.local/demo";

/** The image that each crib has with it to be tried with, in an archive that nobody opens before it is pulled. */
export function demoImage(
  path: string,
  platform: Platform,
  resources: AsyncDisposableStack,
): ImageProvider {
  let archive: ArchiveFile | undefined;
  return {
    name: "demo",
    async find(ctx, reference) {
      if (referenceName(reference) !== demoRepository) return undefined;
      archive ??= resources.use(await openArchive(ctx, path));
      return findArchived(archive, (await readArchivedImages(archive, platform)).images, reference);
    },
  };
}

function findArchived(
  archive: ArchiveFile,
  images: readonly ArchivedImage[],
  reference: Reference,
): NearbyImage | undefined {
  const found = images.find((image) => isNamed(image, reference));
  return found && toNearby(archive, found, reference);
}

/** By tag, or by the digest of any of the documents that lead to the image in that repository. */
function isNamed({ repoTags, repoDigests, manifests }: ArchivedImage, reference: Reference) {
  const { digest } = reference;
  if (digest === undefined) return repoTags.includes(formatReference(reference));
  const isOfRepository = repoDigests.some((one) => one.startsWith(`${referenceName(reference)}@`));
  return isOfRepository && manifests.some((bytes) => digestOf(bytes) === digest);
}

function toNearby(
  archive: ArchiveFile,
  { fileOf, ...image }: ArchivedImage,
  reference: Reference,
): NearbyImage {
  const { digest } = reference;
  return {
    ...image,
    ...(digest === undefined ? {} : { repoTags: [], repoDigests: [repoDigest(reference, digest)] }),
    signatures: archiveSignatures(archive),
    source: {
      readBlob(_, blob) {
        const name = fileOf.get(blob.digest);
        if (name === undefined) throw invalidArgument(`no blob ${blob.digest}`);
        return archive.stream(name);
      },
    },
  };
}
