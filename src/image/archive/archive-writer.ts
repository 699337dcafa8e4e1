import { pack as openPack, type Pack } from "tar-stream";

export interface ArchiveMember {
  readonly name: string;
  readonly sizeBytes: number;
  /** Exactly that many bytes. */
  readonly content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** The same input gives the same bytes. */
const mtime = new Date(0);

/** A tar archive of the members, made while it is read. An error of one of them is an error of the archive. */
export async function* writeArchive(
  members: AsyncIterable<ArchiveMember>,
): AsyncGenerator<Uint8Array> {
  const pack = openPack();
  const filled = fill(pack, members).catch((err: Error) => pack.destroy(err));
  try {
    for await (const chunk of pack) yield chunk as Uint8Array;
  } finally {
    pack.destroy();
    await filled;
  }
}

async function fill(pack: Pack, members: AsyncIterable<ArchiveMember>): Promise<void> {
  for await (const { name, sizeBytes, content } of members) {
    const { promise: written, resolve, reject } = Promise.withResolvers<void>();
    const entry = pack.entry({ name, size: sizeBytes, mode: 0o644, mtime }, (err) =>
      err ? reject(err) : resolve(),
    );
    // Said by the callback; nobody listening would end the process.
    entry.on("error", () => {});
    written.catch(() => {});
    for await (const chunk of content) {
      if (entry.write(chunk)) continue;
      const drained = Promise.withResolvers<void>();
      entry.once("drain", () => drained.resolve());
      await Promise.race([drained.promise, written]);
    }
    entry.end(null);
    await written;
  }
  pack.finalize();
}
