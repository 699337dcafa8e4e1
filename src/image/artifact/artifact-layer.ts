import { parentsOf } from "../../oci/artifact.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { packTar, type TarMember } from "../../snapshot/tar/pack-tar.ts";

/** An artifact says nothing of times, owners and modes. */
const mtime = new Date(0);
const blockBytes = 512;
const endBytes = 2 * blockBytes;

/** A blob as the archive of a layer that holds this one file: so it is unpacked, verified, shared and given on as layers are. */
export function asLayer(
  path: string,
  blob: Descriptor,
  bytes: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  async function* members(): AsyncGenerator<TarMember> {
    for (const directory of parentsOf(path)) {
      yield { header: { name: `${directory}/`, type: "directory", mode: 0o755, mtime } };
    }
    const header = { name: path, size: blob.sizeBytes, mode: 0o644, mtime };
    yield { header, content: copies(bytes) };
  }
  return packTar(members());
}

/** The file again, out of that archive, which it ends but for the filling. */
export async function* fileOf(
  archive: AsyncIterable<Uint8Array>,
  archiveBytes: number,
  { sizeBytes }: Pick<Descriptor, "sizeBytes">,
): AsyncGenerator<Uint8Array> {
  const start = archiveBytes - endBytes - Math.ceil(sizeBytes / blockBytes) * blockBytes;
  const end = start + sizeBytes;
  let at = 0;
  for await (const chunk of archive) {
    const piece = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    at += chunk.byteLength;
    if (piece.byteLength > 0) yield piece;
  }
}

/** A piece is valid until the next one, and a tar stream keeps some. */
async function* copies(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of bytes) yield Buffer.from(piece);
}
