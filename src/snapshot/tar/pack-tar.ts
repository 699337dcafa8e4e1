import { type Header, pack as openPack, type Pack } from "tar-stream";

export type TarMemberHeader = Partial<Header> & Pick<Header, "name">;

export interface TarMember {
  readonly header: TarMemberHeader;
  /** Exactly as many bytes as the header says; absent for what has no content. */
  readonly content?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A tar archive of the members, made while it is read. An error of one of them is an error of the archive. */
export async function* packTar(members: AsyncIterable<TarMember>): AsyncGenerator<Uint8Array> {
  const pack = openPack();
  const filled = fill(pack, members).catch((err: Error) => pack.destroy(err));
  try {
    for await (const chunk of pack) yield chunk as Uint8Array;
  } finally {
    pack.destroy();
    await filled;
  }
}

async function fill(pack: Pack, members: AsyncIterable<TarMember>): Promise<void> {
  for await (const { header, content } of members) {
    const { promise: written, resolve, reject } = Promise.withResolvers<void>();
    const entry = pack.entry(header, (err) => (err ? reject(err) : resolve()));
    // Said by the callback; nobody listening would end the process.
    entry.on("error", () => {});
    written.catch(() => {});
    for await (const chunk of content ?? []) {
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
