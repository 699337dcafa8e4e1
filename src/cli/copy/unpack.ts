import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  utimesSync,
} from "node:fs";
import { posix } from "node:path";
import { type Extract, type Header, extract as openExtract } from "tar-stream";
import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { writeAll } from "../../os/file/blocking-io.ts";
import { type IdMaps, idOutside, type TransferOrder } from "./order.ts";

const pieceBytes = 256 << 10;
const modeBits = 0o7777;

/** A member of the archive and its bytes. */
interface Entry extends AsyncIterable<unknown> {
  readonly header: Header;
}

type UnpackOrder = TransferOrder & { readonly op: "unpack" };

/**
 * Unpacks a tar stream from stdin. A file takes the place of a file or a link; directories stay and are added to. Devices
 * and pipes are left out, and reported on stderr.
 */
export async function unpackTree(order: UnpackOrder): Promise<void> {
  const extract = openExtract();
  const feeding = feed(extract);
  const unpacker = new Unpacker(order);
  const unpacking = (async () => {
    for await (const entry of extract) await unpacker.take(entry);
    unpacker.finish();
  })();
  await Promise.all([unpacking, feeding]);
}

async function feed(extract: Extract): Promise<void> {
  for (;;) {
    const piece = Buffer.alloc(pieceBytes);
    const count = readSync(0, piece);
    if (count === 0) break;
    const isTaken = extract.write(piece.subarray(0, count));
    if (extract.destroyed) return; // the other half says why
    if (!isTaken) await new Promise((drained) => extract.once("drain", () => drained(undefined)));
  }
  extract.end(null);
}

class Unpacker {
  readonly #directory: string;
  readonly #keepsOwners: boolean;
  readonly #ids: IdMaps | undefined;
  /** A directory's own time is set when nothing is added to it any more. */
  readonly #times = new Map<string, Date>();

  constructor({ directory, keepsOwners, ids }: UnpackOrder) {
    this.#directory = directory;
    this.#keepsOwners = keepsOwners;
    this.#ids = ids;
  }

  async take(entry: Entry): Promise<void> {
    const { header } = entry;
    const path = this.#place(header.name);
    if (header.type !== "directory") this.#makeParents(path);
    switch (header.type) {
      case "directory":
        this.#makeDirectory(path, header);
        break;
      case "file":
      case "contiguous-file":
        await this.#makeFile(path, header, entry);
        break;
      case "symlink":
        makeRoom(path);
        symlinkSync(header.linkname ?? "", path);
        this.#own(path, header);
        lutimesSync(path, header.mtime ?? new Date(), header.mtime ?? new Date());
        break;
      case "link":
        makeRoom(path);
        linkSync(this.#place(header.linkname ?? ""), path);
        break;
      default:
        writeAll(2, Buffer.from(`left out ${JSON.stringify(header.name)}: ${header.type}\n`));
    }
    // What nobody has read holds up what comes after it.
    for await (const _rest of entry);
  }

  finish(): void {
    for (const [path, time] of [...this.#times].reverse()) utimesSync(path, time, time);
  }

  /** Below the directory, whatever the archive says. */
  #place(name: string): string {
    const parts = name.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..") || name.includes("\0")) {
      throw invalidArgument(`the archive has a name with "..": ${JSON.stringify(name)}`);
    }
    return posix.join(this.#directory, ...parts);
  }

  #makeParents(path: string): void {
    const parent = posix.dirname(path);
    if (parent.length > this.#directory.length) mkdirSync(parent, { recursive: true, mode: 0o755 });
  }

  #makeDirectory(path: string, header: Header): void {
    if (path === this.#directory) return; // it was there, and stays what it is
    const there = find(path);
    if (there !== undefined && !there.isDirectory()) {
      throw failedPrecondition(`${path}: a directory cannot replace what is there`);
    }
    if (there === undefined) {
      mkdirSync(path, { recursive: true, mode: 0o755 });
      this.#own(path, header);
      chmodSync(path, (header.mode ?? 0o755) & modeBits);
    }
    if (header.mtime !== undefined) this.#times.set(path, header.mtime);
  }

  async #makeFile(path: string, header: Header, entry: Entry): Promise<void> {
    makeRoom(path);
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      for await (const piece of entry) writeAll(fd, piece as Uint8Array);
      const { uid, gid } = this.#ownerOf(header);
      fchownSync(fd, uid, gid);
      fchmodSync(fd, (header.mode ?? 0o644) & modeBits);
      if (header.mtime !== undefined) futimesSync(fd, header.mtime, header.mtime);
    } finally {
      closeSync(fd);
    }
  }

  #own(path: string, header: Header): void {
    const { uid, gid } = this.#ownerOf(header);
    lchownSync(path, uid, gid);
  }

  #ownerOf({ uid = 0, gid = 0 }: Header): { readonly uid: number; readonly gid: number } {
    return {
      uid: idOutside(this.#ids?.uids, this.#keepsOwners ? uid : 0),
      gid: idOutside(this.#ids?.gids, this.#keepsOwners ? gid : 0),
    };
  }
}

function find(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (err) {
    if (isErrno(err, "ENOENT")) return undefined;
    throw err;
  }
}

/** For what is not a directory. */
function makeRoom(path: string): void {
  const there = find(path);
  if (there === undefined) return;
  if (there.isDirectory()) {
    throw failedPrecondition(`${path}: a file cannot replace a directory`);
  }
  unlinkSync(path);
}
