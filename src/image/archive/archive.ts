import { readVerified } from "../../content/verified-stream.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestHex } from "../../oci/digest.ts";

/** The files of an image archive, whatever it is kept in. Names are relative, without `./` in front. */
export interface ImageArchive extends AsyncDisposable {
  /** For messages. */
  readonly path: string;
  has(name: string): boolean;
  sizeOf(name: string): number;
  /** Of the file's bytes, where that is known already. */
  digestOf?(name: string): Digest | undefined;
  /** At most `maxBytes`, or an error. */
  read(name: string, maxBytes: number): Promise<Buffer>;
  stream(name: string): AsyncIterable<Uint8Array>;
}

/** Where an image layout has a blob. */
export function blobName(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}

/** A small blob of an image layout, verified. */
export function readBlob(
  archive: ImageArchive,
  blob: Pick<Descriptor, "digest" | "sizeBytes">,
  maxBytes: number,
): Promise<Buffer> {
  return readVerified(archive.stream(blobName(blob.digest)), blob, maxBytes);
}
