import { AppError, invalidArgument } from "../../lib/errors.ts";
import type { Name, Timestamp } from "../../os/file/inode.ts";
import { type PaxRecords, parsePax } from "./pax.ts";
import { paxSparseLayout } from "./sparse-layout.ts";
import { maxRegions, regionsOf, type SparseLayout, tooManyRegions } from "./sparse-map.ts";
import {
  blockSize,
  isZeroBlock,
  readHeader,
  readSparseExtension,
  readSparseHeader,
  type TarHeader,
} from "./tar-header.ts";

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
  /** Of a file with holes, for which the data has to be taken apart (sparse-file.ts). */
  readonly sparse: SparseLayout | undefined;
  readonly mtime: Timestamp;
  readonly device: readonly [major: number, minor: number];
  readonly attributes: readonly (readonly [attribute: Name, value: Name])[];
}

/** What overlayfs takes for a whiteout: layers made of another overlay's files have them where others have `.wh.` names. */
export function isOverlayWhiteout({ type, device: [major, minor] }: TarEntry): boolean {
  return type === "character-device" && major === 0 && minor === 0;
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
  S: "file",
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
 * A reader of tar archives that is given the bytes as they come: ustar, GNU long names and sparse files, PAX. Our own and not
 * tar-stream, because names must stay bytes (a string would merge names that differ in an invalid byte), because where
 * archives are ambiguous it must refuse and not guess, and because every extension header has a limit.
 */
export class TarReader {
  readonly #sink: TarSink;
  /** A header block or the body of an extension header that is not complete yet. */
  #pending = Buffer.alloc(blockSize);
  #filled = 0;
  #wanted = blockSize;
  #state: "header" | "extension" | "sparse" | "data" | "padding" | "end" = "header";
  #left = 0;
  #padding = 0;
  #zeroBlocks = 0;
  #extension = "";
  #pax: PaxRecords | undefined;
  #longName: Name | undefined;
  #longLink: Name | undefined;
  /** A member of type `S` whose map is not complete yet. */
  #oldSparse: { header: TarHeader; sizeBytes: number; numbers: number[] } | undefined;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** The end mark has come: what follows means nothing. */
  get isAtEnd(): boolean {
    return this.#state === "end";
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

  /**
   * To be called when no more bytes come. An archive may end without the two zero blocks, and even without the padding of
   * its last entry: umoci insert --opaque writes such layers, and Go's programs read them.
   */
  finish(): void {
    const isBoundary =
      this.#state === "padding" || (this.#state === "header" && this.#filled === 0);
    if (this.#state !== "end" && !(isBoundary && this.#isUnclaimed())) {
      throw invalidArgument("tar archive ends in the middle of an entry");
    }
  }

  /** No extension header waits for its entry. */
  #isUnclaimed(): boolean {
    return this.#pax === undefined && !this.#longName && !this.#longLink;
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
      case "sparse":
        this.#takeSparseBlock(this.#pending);
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
    if (limit !== undefined) this.#expectExtension(header, limit);
    else if (header.typeFlag === "S") this.#takeSparseHeader(header, block);
    else this.#takeEntry(header, undefined);
  }

  /** Between this header and the data there may be more of the map, which is not part of the size. */
  #takeSparseHeader(header: TarHeader, block: Buffer): void {
    const { numbers, isExtended, sizeBytes } = readSparseHeader(block);
    this.#oldSparse = { header, sizeBytes, numbers: [...numbers] };
    if (isExtended) this.#state = "sparse";
    else this.#takeSparseEntry();
  }

  #takeSparseBlock(block: Buffer): void {
    const { numbers, isExtended } = readSparseExtension(block);
    this.#oldSparse?.numbers.push(...numbers);
    const count = (this.#oldSparse?.numbers.length ?? 0) / 2;
    if (count > maxRegions) throw tooManyRegions(count);
    this.#expectHeader();
    if (isExtended && numbers.length > 0) this.#state = "sparse";
    else this.#takeSparseEntry();
  }

  #takeSparseEntry(): void {
    if (this.#oldSparse === undefined) throw new TypeError("no member of type S");
    const { header, sizeBytes, numbers } = this.#oldSparse;
    this.#oldSparse = undefined;
    this.#takeEntry(header, { sizeBytes, regions: regionsOf(numbers, sizeBytes) });
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
        if (!this.#isUnclaimed()) throw invalidArgument("global PAX header inside of a tar entry");
        checkGlobal(parsePax(body));
        break;
      case "L":
        this.#longName = untilNul(body);
        break;
      default:
        this.#longLink = untilNul(body);
    }
  }

  #takeEntry(header: TarHeader, oldSparse: SparseLayout | undefined): void {
    const entry = this.#assemble(header, oldSparse);
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

  #assemble(header: TarHeader, oldSparse: SparseLayout | undefined): TarEntry {
    const pax: PaxRecords = this.#pax ?? {};
    const both = (pax.path && this.#longName) || (pax.linkPath && this.#longLink);
    if (both) throw invalidArgument("tar entry with a PAX and a GNU name");
    const paxSparse = paxSparseLayout(pax);
    if (paxSparse && oldSparse) throw invalidArgument("tar entry with two maps of its holes");
    const sparse = oldSparse ?? paxSparse;
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
      sparse: type === "file" && !isOldDirectory ? sparse : undefined,
      mtime: pax.mtime ?? { seconds: header.mtimeSeconds, nanoseconds: 0 },
      device: header.device,
      attributes: pax.attributes ?? [],
    };
  }
}

/**
 * GNU tar applies what one header says of all entries, Go's reader, and so the peers, do not. Times, owners and the like
 * are passed over as there; a name or a size of all entries is no honest archive's, and would be read in two ways.
 */
function checkGlobal(records: PaxRecords): void {
  const { uid, gid, mtime, attributes, ...others } = records;
  if (Object.keys(others).length === 0) return;
  throw invalidArgument("global PAX header with a name or a size");
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
