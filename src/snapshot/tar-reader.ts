import { AppError, invalidArgument } from "../lib/errors.ts";
import type { Name, Timestamp } from "../os/inode.ts";
import { type PaxRecords, parsePax } from "./pax.ts";
import { blockSize, isZeroBlock, readHeader, type TarHeader } from "./tar-header.ts";

export type EntryType =
  | "file"
  | "hard-link"
  | "symlink"
  | "character-device"
  | "block-device"
  | "directory"
  | "fifo";

/** One member of an archive after all its extension headers have been applied. Names are bytes. */
export interface TarEntry {
  readonly name: Name;
  readonly type: EntryType;
  readonly linkName: Name;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the data that follows; 0 for all but files. */
  readonly sizeBytes: number;
  /** The size with its holes of a file in GNU's sparse format 1.0; its data begins with a map (sparse-file.ts). */
  readonly sparseSizeBytes: number | undefined;
  readonly mtime: Timestamp;
  readonly device: readonly [major: number, minor: number];
  readonly attributes: readonly (readonly [attribute: Name, value: Name])[];
}

/** Gets `entry`, then the file's bytes in pieces, then `end`. A piece is valid during the call only. */
export interface TarSink {
  entry(entry: TarEntry): void;
  data(piece: Uint8Array): void;
  end(): void;
}

const typeOfFlag: Readonly<Record<string, EntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "hard-link",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
};

const maxExtensionBytes: Readonly<Record<string, number>> = {
  x: 1 << 20,
  g: 1 << 20,
  L: 8192,
  K: 8192,
};
const nothing = Buffer.alloc(0);

/**
 * A reader of tar archives that is given the bytes as they come: ustar, GNU long names, PAX. Our own and not
 * tar-stream, because names must stay bytes (a string would merge names that differ in an invalid byte), because where
 * archives are ambiguous it must refuse and not guess, and because every extension header has a limit.
 */
export class TarReader {
  readonly #sink: TarSink;
  /** A header block or the body of an extension header that is not complete yet. */
  #pending = Buffer.alloc(blockSize);
  #filled = 0;
  #wanted = blockSize;
  #state: "header" | "extension" | "data" | "padding" | "end" = "header";
  #left = 0;
  #padding = 0;
  #zeroBlocks = 0;
  #extension = "";
  #global: PaxRecords | undefined;
  #pax: PaxRecords | undefined;
  #longName: Name | undefined;
  #longLink: Name | undefined;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  write(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength && this.#state !== "end") {
      const available = chunk.byteLength - at;
      if (this.#state === "data" || this.#state === "padding") {
        const take = Math.min(available, this.#left);
        if (this.#state === "data") this.#sink.data(chunk.subarray(at, at + take));
        this.#left -= take;
        at += take;
        if (this.#left === 0) this.#finishPart();
      } else {
        const take = Math.min(available, this.#wanted - this.#filled);
        this.#pending.set(chunk.subarray(at, at + take), this.#filled);
        this.#filled += take;
        at += take;
        if (this.#filled === this.#wanted) this.#finishPart();
      }
    }
  }

  /** To be called when no more bytes come. An archive may end without the two zero blocks. */
  finish(): void {
    const isBoundary = this.#state === "header" && this.#filled === 0;
    const isUnclaimed = this.#pax === undefined && !this.#longName && !this.#longLink;
    if (this.#state !== "end" && !(isBoundary && isUnclaimed)) {
      throw invalidArgument("tar archive ends in the middle of an entry");
    }
  }

  #finishPart(): void {
    switch (this.#state) {
      case "header":
        this.#filled = 0;
        this.#takeHeader(this.#pending.subarray(0, blockSize));
        break;
      case "extension":
        this.#takeExtension(Buffer.from(this.#pending.subarray(0, this.#wanted)));
        this.#pending = Buffer.alloc(blockSize);
        this.#expectHeader();
        this.#skip(this.#padding);
        break;
      case "data":
        this.#sink.end();
        this.#expectHeader();
        this.#skip(this.#padding);
        break;
      case "padding":
        this.#expectHeader();
        break;
      case "end":
        break;
    }
  }

  #expectHeader(): void {
    this.#state = "header";
    this.#filled = 0;
    this.#wanted = blockSize;
  }

  #skip(padding: number): void {
    if (padding === 0) return;
    this.#state = "padding";
    this.#left = padding;
  }

  #takeHeader(block: Buffer): void {
    if (isZeroBlock(block)) {
      if (++this.#zeroBlocks === 2) this.#state = "end";
      return;
    }
    if (this.#zeroBlocks > 0) throw invalidArgument("tar archive goes on after a zero block");
    const header = readHeader(block);
    const limit = maxExtensionBytes[header.typeFlag];
    if (limit === undefined) this.#takeEntry(header);
    else this.#expectExtension(header, limit);
  }

  #expectExtension(header: TarHeader, limit: number): void {
    if (header.sizeBytes > limit) {
      throw new AppError(`tar extension header of ${header.sizeBytes} bytes, over ${limit}`, {
        kind: "resource-exhausted",
      });
    }
    this.#extension = header.typeFlag;
    this.#padding = paddingOf(header.sizeBytes);
    this.#state = "extension";
    this.#wanted = header.sizeBytes;
    this.#pending = Buffer.alloc(Math.max(header.sizeBytes, 1));
    if (header.sizeBytes === 0) this.#finishPart();
  }

  #takeExtension(body: Buffer): void {
    switch (this.#extension) {
      case "x":
        if (this.#pax !== undefined) throw invalidArgument("two PAX headers for one tar entry");
        this.#pax = parsePax(body);
        break;
      case "g":
        this.#global = globalRecords({ ...this.#global, ...parsePax(body) });
        break;
      case "L":
        this.#longName = untilNul(body);
        break;
      default:
        this.#longLink = untilNul(body);
    }
  }

  #takeEntry(header: TarHeader): void {
    const entry = this.#assemble(header);
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#sink.entry(entry);
    if (entry.type !== "file") return;
    this.#padding = paddingOf(entry.sizeBytes);
    this.#state = "data";
    this.#left = entry.sizeBytes;
    if (entry.sizeBytes === 0) this.#finishPart();
  }

  #assemble(header: TarHeader): TarEntry {
    const pax: PaxRecords = { ...this.#global, ...this.#pax };
    const both = (pax.path && this.#longName) || (pax.linkPath && this.#longLink);
    if (both) throw invalidArgument("tar entry with a PAX and a GNU name");
    const sparseSizeBytes = sparseSizeOf(pax);
    const name = pax.sparseName ?? pax.path ?? this.#longName ?? header.name;
    const type = typeOfFlag[header.typeFlag];
    if (type === undefined) {
      throw invalidArgument(`tar entry of type ${JSON.stringify(header.typeFlag)}`);
    }
    const isOldDirectory = header.typeFlag === "\0" && name.at(-1) === 0x2f;
    const isLink = type === "hard-link" || type === "symlink";
    return {
      name,
      type: isOldDirectory ? "directory" : type,
      linkName: isLink ? (pax.linkPath ?? this.#longLink ?? header.linkName) : nothing,
      mode: header.mode & 0o7777,
      uid: checkId(pax.uid ?? header.uid),
      gid: checkId(pax.gid ?? header.gid),
      sizeBytes: type === "file" && !isOldDirectory ? (pax.sizeBytes ?? header.sizeBytes) : 0,
      sparseSizeBytes: type === "file" && !isOldDirectory ? sparseSizeBytes : undefined,
      mtime: pax.mtime ?? { seconds: header.mtimeSeconds, nanoseconds: 0 },
      device: header.device,
      attributes: pax.attributes ?? [],
    };
  }
}

/** What one header says of all entries is taken for owners and times; for the rest, readers differ, so it is refused. */
function globalRecords(records: PaxRecords): PaxRecords {
  const { uid: _uid, gid: _gid, mtime: _mtime, ...others } = records;
  if (Object.keys(others).length > 0) {
    throw invalidArgument("global PAX header with more than owner and time");
  }
  return records;
}

function sparseSizeOf(pax: PaxRecords): number | undefined {
  const { sparseMajor, sparseMinor, sparseName, sparseSizeBytes } = pax;
  const given = [sparseMajor, sparseMinor, sparseName, sparseSizeBytes];
  if (given.every((field) => field === undefined)) return undefined;
  if (sparseMajor === 1 && sparseMinor === 0 && sparseSizeBytes !== undefined)
    return sparseSizeBytes;
  throw new AppError("sparse file in an old format", { kind: "unimplemented" });
}

/** The highest value means "leave as it is" to chown(2). */
function checkId(id: number): number {
  if (id < 0 || id >= 0xffff_ffff) throw invalidArgument(`tar entry with owner ${id}`);
  return id;
}

function paddingOf(sizeBytes: number): number {
  return (blockSize - (sizeBytes % blockSize)) % blockSize;
}

function untilNul(body: Buffer): Buffer {
  const end = body.indexOf(0);
  const name = end < 0 ? body : body.subarray(0, end);
  if (name.byteLength === 0) throw invalidArgument("empty GNU name in a tar archive");
  return name;
}
