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

/** What the reader waits for: a block, or so many bytes of another kind. */
interface Part {
  readonly kind: "block" | "body" | "data" | "padding";
  readonly bytes: number;
  /** Whether the archive may end before it, and in the middle of padding. */
  readonly mayEnd?: boolean;
}

/** What extension headers say of the entry that follows. */
interface Extensions {
  readonly pax?: PaxRecords;
  readonly longName?: Name;
  readonly longLink?: Name;
}

/**
 * A reader of tar archives that is given the bytes as they come: ustar, GNU long names and sparse files, PAX. Our own and not
 * tar-stream, because names must stay bytes (a string would merge names that differ in an invalid byte), because where
 * archives are ambiguous it must refuse and not guess, and because every extension header has a limit.
 */
export class TarReader {
  readonly #sink: TarSink;
  readonly #parts: Generator<Part, void, Buffer>;
  readonly #block = Buffer.alloc(blockSize);
  /** Absent after the end mark. */
  #part: Part | undefined;
  #left = 0;
  /** Where a block, or a body, is put together. */
  #kept: Buffer = this.#block;

  constructor(sink: TarSink) {
    this.#sink = sink;
    this.#parts = partsOf(sink);
    this.#expect(this.#parts.next());
  }

  /** The end mark has come: what follows means nothing. */
  get isAtEnd(): boolean {
    return this.#part === undefined;
  }

  /** Throws `invalid-argument` for what is no archive or reads in two ways, `resource-exhausted` for what is too long. */
  write(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength && this.#part !== undefined; ) {
      const { kind, bytes } = this.#part;
      const piece = chunk.subarray(at, at + this.#left);
      if (kind === "data") this.#sink.data(piece);
      else if (kind !== "padding") this.#kept.set(piece, bytes - this.#left);
      at += piece.byteLength;
      this.#left -= piece.byteLength;
      if (this.#left === 0) this.#expect(this.#parts.next(this.#kept));
    }
  }

  /**
   * To be called when no more bytes come. An archive may end without the two zero blocks, and even without the padding of
   * its last entry: umoci insert --opaque writes such layers, and Go's programs read them.
   */
  finish(): void {
    const { kind, bytes, mayEnd = false } = this.#part ?? { kind: "padding", mayEnd: true };
    if (!mayEnd || (kind !== "padding" && this.#left !== bytes)) {
      throw invalidArgument("tar archive ends in the middle of an entry");
    }
  }

  /** Parts without bytes are there already. */
  #expect(next: IteratorResult<Part, void>): void {
    let step = next;
    while (step.done !== true && step.value.bytes === 0) step = this.#parts.next(nothing);
    this.#part = step.done === true ? undefined : step.value;
    this.#left = this.#part?.bytes ?? 0;
    this.#kept = this.#part?.kind === "body" ? Buffer.alloc(this.#left) : this.#block;
  }
}

/** The grammar of an archive. It is given each block and body that it asks for; a block is valid until the next one. */
function* partsOf(sink: TarSink): Generator<Part, void, Buffer> {
  let extensions: Extensions = {};
  for (let zeroBlocks = 0; zeroBlocks < 2; ) {
    const mayEnd = isUnclaimed(extensions);
    const block = yield { kind: "block", bytes: blockSize, mayEnd };
    if (isZeroBlock(block)) {
      zeroBlocks++;
      continue;
    }
    if (zeroBlocks > 0) throw invalidArgument("tar archive goes on after a zero block");
    const header = readHeader(block);
    const { typeFlag, sizeBytes } = header;
    const limit = maxExtensionBytes[typeFlag];
    if (limit !== undefined) {
      if (sizeBytes > limit) {
        throw new AppError(`tar extension header of ${sizeBytes} bytes, over ${limit}`, {
          kind: "resource-exhausted",
        });
      }
      extensions = extended(extensions, typeFlag, yield { kind: "body", bytes: sizeBytes });
      yield { kind: "padding", bytes: paddingOf(sizeBytes), mayEnd: isUnclaimed(extensions) };
      continue;
    }
    const sparse = typeFlag === "S" ? yield* sparseLayoutOf(block) : undefined;
    const entry = assemble(header, extensions, sparse);
    extensions = {};
    sink.entry(entry);
    if (entry.type !== "file") continue;
    yield { kind: "data", bytes: entry.sizeBytes };
    sink.end();
    yield { kind: "padding", bytes: paddingOf(entry.sizeBytes), mayEnd: true };
  }
}

/** No extension header waits for its entry. */
function isUnclaimed({ pax, longName, longLink }: Extensions): boolean {
  return pax === undefined && longName === undefined && longLink === undefined;
}

function extended(extensions: Extensions, typeFlag: string, body: Buffer): Extensions {
  switch (typeFlag) {
    case "x":
      if (extensions.pax !== undefined) throw invalidArgument("two PAX headers for one tar entry");
      return { ...extensions, pax: parsePax(body) };
    case "g":
      if (!isUnclaimed(extensions)) {
        throw invalidArgument("global PAX header inside of a tar entry");
      }
      checkGlobal(parsePax(body));
      return extensions;
    case "L":
      return { ...extensions, longName: untilNul(body) };
    default:
      return { ...extensions, longLink: untilNul(body) };
  }
}

/** Of a member of type `S`: between its header and the data there may be more of the map, which is not part of the size. */
function* sparseLayoutOf(block: Buffer): Generator<Part, SparseLayout, Buffer> {
  const { sizeBytes, numbers: first, isExtended } = readSparseHeader(block);
  const numbers = [...first];
  for (let goesOn = isExtended; goesOn; ) {
    const more = readSparseExtension(yield { kind: "block", bytes: blockSize });
    numbers.push(...more.numbers);
    const count = numbers.length / 2;
    if (count > maxRegions) throw tooManyRegions(count);
    goesOn = more.isExtended && more.numbers.length > 0;
  }
  return { sizeBytes, regions: regionsOf(numbers, sizeBytes) };
}

function assemble(
  header: TarHeader,
  { pax = {}, longName, longLink }: Extensions,
  oldSparse: SparseLayout | undefined,
): TarEntry {
  const both = (pax.path && longName) || (pax.linkPath && longLink);
  if (both) throw invalidArgument("tar entry with a PAX and a GNU name");
  const paxSparse = paxSparseLayout(pax);
  if (paxSparse && oldSparse) throw invalidArgument("tar entry with two maps of its holes");
  const sparse = oldSparse ?? paxSparse;
  const name = pax.sparseName ?? pax.path ?? longName ?? header.name;
  const type = typeOfFlag[header.typeFlag];
  if (type === undefined) {
    throw invalidArgument(`tar entry of type ${JSON.stringify(header.typeFlag)}`);
  }
  const isOldDirectory = header.typeFlag === "\0" && name.at(-1) === 0x2f;
  const isLink = type === "hard-link" || type === "symlink";
  return {
    name,
    type: isOldDirectory ? "directory" : type,
    linkName: isLink ? (pax.linkPath ?? longLink ?? header.linkName) : nothing,
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
