import { type AppError, invalidArgument } from "../../lib/errors.ts";
import type { Name } from "../../os/file/inode.ts";

export const blockSize = 512;
const nothing = Buffer.alloc(0);

/** The fields of one 512-byte header (POSIX ustar, GNU, V7), before any extension header is applied. */
export interface TarHeader {
  readonly name: Name;
  readonly linkName: Name;
  readonly typeFlag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly device: readonly [major: number, minor: number];
}

export function isZeroBlock(block: Buffer): boolean {
  for (let i = 0; i < blockSize; i++) if (block[i] !== 0) return false;
  return true;
}

export function readHeader(block: Buffer): TarHeader {
  checkSum(block);
  const magic = block.toString("latin1", 257, 265);
  const isUstar = magic.startsWith("ustar\0");
  const isGnu = magic === "ustar  \0";
  const hasDevice = isUstar || isGnu;
  // GNU's two further times lie where ustar has its prefix. Go takes what is no time for a prefix, GNU tar does not.
  if (isGnu) for (const offset of [345, 357]) number(block, offset, 12, "time");
  const prefix = isUstar ? text(block, 345, isStar(block) ? 131 : 155) : nothing;
  const name = text(block, 0, 100);
  const sizeBytes = number(block, 124, 12, "size");
  if (sizeBytes < 0) throw invalidArgument("tar entry with a negative size");
  return {
    name: prefix.byteLength === 0 ? name : Buffer.concat([prefix, Buffer.from("/"), name]),
    linkName: text(block, 157, 100),
    typeFlag: String.fromCharCode(block[156] ?? 0),
    mode: number(block, 100, 8, "mode"),
    uid: number(block, 108, 8, "uid"),
    gid: number(block, 116, 8, "gid"),
    sizeBytes,
    mtimeSeconds: number(block, 136, 12, "mtime"),
    device: hasDevice
      ? [number(block, 329, 8, "devmajor"), number(block, 337, 8, "devminor")]
      : [0, 0],
  };
}

/** The field itself counts as blanks. Some old writers summed signed bytes. Plain loops: this is done for every entry. */
function checkSum(block: Buffer): void {
  const expected = number(block, 148, 8, "checksum");
  let unsigned = 8 * 0x20;
  for (let i = 0; i < 148; i++) unsigned += block[i] ?? 0;
  for (let i = 156; i < blockSize; i++) unsigned += block[i] ?? 0;
  if (expected === unsigned || expected === unsigned - 256 * negativeBytes(block)) return;
  throw invalidArgument("not a tar archive: wrong header checksum");
}

/** Beside the checksum itself. */
function negativeBytes(block: Buffer): number {
  return block.filter((byte, i) => byte > 127 && (i < 148 || i >= 156)).byteLength;
}

/** The star format keeps two times where ustar has the end of the prefix. */
function isStar(block: Buffer): boolean {
  return block.toString("latin1", 508, 512) === "tar\0";
}

/** A copy up to the first NUL. Most headers have a name and nothing else: those are not copied. */
function text(block: Buffer, offset: number, length: number): Name {
  if (block[offset] === 0) return nothing;
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return Buffer.from(end < 0 ? field : field.subarray(0, end));
}

/** Octal digits between blanks and NULs, or GNU's base-256. GNU tar and Go both stop at the first NUL after a digit. */
function number(block: Buffer, offset: number, length: number, what: string): number {
  const end = offset + length;
  if (((block[offset] ?? 0) & 0x80) !== 0) return base256(block.subarray(offset, end), what);
  let at = offset;
  while (at < end && isFiller(block[at])) at++;
  let value = 0;
  for (; at < end && !isFiller(block[at]); at++) {
    const digit = (block[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 7) throw badNumber(what);
    value = value * 8 + digit;
  }
  for (; at < end && block[at] !== 0; at++) if (block[at] !== 0x20) throw badNumber(what);
  return value;
}

function isFiller(byte: number | undefined): boolean {
  return byte === 0 || byte === 0x20;
}

function badNumber(what: string): AppError {
  return invalidArgument(`tar entry with a bad ${what}`);
}

/** Big-endian two's complement; the highest bit only marks the format, the next one is the sign. */
function base256(field: Buffer, what: string): number {
  const isNegative = ((field[0] ?? 0) & 0x40) !== 0;
  let value = BigInt((field[0] ?? 0) & 0x7f);
  for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte);
  if (isNegative) value -= 1n << BigInt(field.byteLength * 8 - 1);
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw badNumber(what);
  return result;
}

/** The map in the header of a type `S` member (GNU's oldest sparse format), and in the blocks that may follow it. */
export interface SparseBlock {
  /** Offset and length in turn. */
  readonly numbers: readonly number[];
  /** Another block comes before the data. */
  readonly isExtended: boolean;
}

export function readSparseHeader(block: Buffer): SparseBlock & { readonly sizeBytes: number } {
  return {
    numbers: sparseNumbers(block, 386, 4),
    isExtended: block[482] !== 0,
    sizeBytes: number(block, 483, 12, "size"),
  };
}

export function readSparseExtension(block: Buffer): SparseBlock {
  return { numbers: sparseNumbers(block, 0, 21), isExtended: block[504] !== 0 };
}

/** Up to the first entry that is not filled in. */
function sparseNumbers(block: Buffer, offset: number, count: number): readonly number[] {
  const numbers: number[] = [];
  for (let at = offset; at < offset + 24 * count && block[at + 12] !== 0; at += 24) {
    numbers.push(number(block, at, 12, "map"), number(block, at + 12, 12, "map"));
  }
  return numbers;
}
