import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
  statSync,
} from "node:fs";
import { posix } from "node:path";
import { type Header, pack as openPack, type Pack } from "tar-stream";
import { failedPrecondition } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { writeAll } from "../../os/file/blocking-io.ts";
import { type IdMaps, idInside, type TransferOrder } from "./order.ts";

const pieceBytes = 256 << 10;
const modeBits = 0o7777;
/** tar's own formats have at most so many, of which a device's number is made. */
const [minorBits, minorMask] = [8, 0xff];

type TarHeader = Partial<Header> & Pick<Header, "name">;

type PackOrder = TransferOrder & { readonly op: "pack" };

/** Writes a tar stream of what is at `path` to stdout. What goes while it is read is left out. */
export async function packTree(order: PackOrder): Promise<void> {
  const pack = openPack();
  const writing = (async () => {
    for await (const chunk of pack) writeAll(1, chunk as Uint8Array);
  })();
  const packer = new Packer(pack, order.ids);
  const added = packer.add(order.path, order.name, order.follow).then(
    () => pack.finalize(),
    (err: unknown) => {
      pack.destroy();
      throw err;
    },
  );
  await Promise.all([added, writing]);
}

class Packer {
  readonly #pack: Pack;
  readonly #ids: IdMaps | undefined;
  /** Names of files that have several, by device and inode. */
  readonly #linked = new Map<string, string>();

  constructor(pack: Pack, ids: IdMaps | undefined) {
    this.#pack = pack;
    this.#ids = ids;
  }

  async add(path: string, name: string, follow: boolean): Promise<void> {
    const stats = follow ? statSync(path) : lstatSync(path);
    const header = this.#headerOf(name, stats);
    if (stats.isDirectory()) {
      await this.#entry({ ...header, name: `${name}/`, type: "directory" });
      await this.#addChildren(path, name);
    } else if (stats.isFile()) await this.#addFile(path, header, stats);
    else if (stats.isSymbolicLink()) {
      await this.#entry({ ...header, type: "symlink", linkname: readlinkSync(path) });
    } else if (stats.isFIFO()) await this.#entry({ ...header, type: "fifo" });
    else if (stats.isBlockDevice() || stats.isCharacterDevice()) {
      const type = stats.isBlockDevice() ? "block-device" : "character-device";
      const devmajor = (stats.rdev >> minorBits) & minorMask;
      await this.#entry({ ...header, type, devmajor, devminor: stats.rdev & minorMask });
    }
    // A socket is of no use without its owner.
  }

  async #addChildren(path: string, name: string): Promise<void> {
    for (const child of readdirSync(path, { encoding: "buffer" }).sort(Buffer.compare)) {
      const text = child.toString("utf8");
      if (!Buffer.from(text).equals(child)) {
        throw failedPrecondition(`${posix.join(path, text)}: the name is not UTF-8`);
      }
      try {
        await this.add(posix.join(path, text), name === "." ? text : posix.join(name, text), false);
      } catch (err) {
        if (!isErrno(err, "ENOENT")) throw err;
      }
    }
  }

  async #addFile(path: string, header: TarHeader, found: Stats): Promise<void> {
    const key = `${found.dev}:${found.ino}`;
    const earlier = found.nlink > 1 ? this.#linked.get(key) : undefined;
    if (earlier !== undefined) {
      await this.#entry({ ...header, size: 0, type: "link", linkname: earlier });
      return;
    }
    // What is no file any more is neither opened nor waited for.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = openSync(path, found.isSymbolicLink() ? flags & ~constants.O_NOFOLLOW : flags);
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) throw failedPrecondition(`${path} was changed while it was copied`);
      if (found.nlink > 1) this.#linked.set(key, header.name);
      await this.#contents(fd, { ...header, type: "file", size: stats.size });
    } finally {
      closeSync(fd);
    }
  }

  /** Exactly `size` bytes: a file that shrinks is filled with zeros, of one that grows the rest is left out. */
  async #contents(fd: number, header: TarHeader & { readonly size: number }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry = this.#pack.entry(header, (err) => (err ? reject(err) : resolve()));
    // Reported by the callback; with nobody listening it would end the process.
    entry.on("error", () => {});
    promise.catch(() => {});
    for (let at = 0; at < header.size; ) {
      const piece = Buffer.alloc(Math.min(pieceBytes, header.size - at));
      const count = readSync(fd, piece, 0, piece.byteLength, at);
      at += count === 0 ? piece.byteLength : count;
      const bytes = count === 0 ? piece : piece.subarray(0, count);
      if (entry.write(bytes)) continue;
      const drained = Promise.withResolvers<void>();
      entry.once("drain", () => drained.resolve());
      await Promise.race([drained.promise, promise]);
    }
    entry.end(null);
    await promise;
  }

  async #entry(header: TarHeader): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pack.entry(header, (err) => (err ? reject(err) : resolve()));
    await promise;
  }

  #headerOf(name: string, stats: Stats): TarHeader {
    return {
      name,
      mode: stats.mode & modeBits,
      mtime: stats.mtime,
      uid: idInside(this.#ids?.uids, stats.uid),
      gid: idInside(this.#ids?.gids, stats.gid),
      size: 0,
    };
  }
}
