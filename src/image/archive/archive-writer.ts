import { packTar, type TarMember } from "../../snapshot/tar/pack-tar.ts";

export interface ArchiveMember {
  readonly name: string;
  readonly sizeBytes: number;
  /** Exactly that many bytes. */
  readonly content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** The same input gives the same bytes. */
const mtime = new Date(0);

/** A tar archive of the members, made while it is read. An error of one of them is an error of the archive. */
export function writeArchive(members: AsyncIterable<ArchiveMember>): AsyncGenerator<Uint8Array> {
  return packTar(tarMembers(members));
}

async function* tarMembers(members: AsyncIterable<ArchiveMember>): AsyncGenerator<TarMember> {
  for await (const { name, sizeBytes, content } of members) {
    yield { header: { name, size: sizeBytes, mode: 0o644, mtime }, content };
  }
}
