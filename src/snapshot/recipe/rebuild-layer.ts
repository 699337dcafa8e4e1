import { fstatSync, readSync } from "node:fs";
import { AppError } from "../../lib/errors.ts";
import { findStatus, isRegularFile, openFile } from "../../os/file/inode.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { decodeRecipe, type RecipeRecord } from "./recipe-format.ts";
import type { RecipeFiles } from "./recipe-recorder.ts";

const pieceBytes = 1 << 18;

/** Where the contents of a file are that a later entry replaced. */
interface Replaced {
  /** Count of records before the one that says it. */
  readonly index: number;
  readonly sizeBytes: number;
  readonly offset: number;
}

/**
 * Gives the layer's archive to `write`, piece by piece, as it was unpacked. The caller's process is chrooted into the
 * layer's directory. Whether it is the archive is for the caller to verify: it has the diffID.
 */
export function rebuildLayer(files: RecipeFiles, write: (bytes: Uint8Array) => void): void {
  const isPlain = fstatSync(files.replaced).size === 0;
  const replaced = isPlain ? new Map() : findReplaced(files.recipe);
  const out = new Gathered(write);
  let index = 0;
  for (const record of readRecipe(files.recipe)) {
    if (record.type === "literal") out.write(record.bytes);
    else if (record.type === "file") copyFile(record, index, replaced, files.replaced, out);
    index++;
  }
  out.flush();
}

function readRecipe(fd: number): Generator<RecipeRecord> {
  let position = 0;
  return decodeRecipe((into) => {
    let length = 0;
    while (length < into.byteLength) {
      const count = readSync(fd, into, length, into.byteLength - length, position);
      if (count === 0) break;
      length += count;
      position += count;
    }
    return length;
  });
}

function findReplaced(recipe: number): ReadonlyMap<string, readonly Replaced[]> {
  const found = new Map<string, Replaced[]>();
  let index = 0;
  for (const record of readRecipe(recipe)) {
    if (record.type === "replaced") {
      const { sizeBytes, offset } = record;
      const key = keyOf(record.path);
      const known = found.get(key);
      if (known === undefined) found.set(key, [{ index, sizeBytes, offset }]);
      else known.push({ index, sizeBytes, offset });
    }
    index++;
  }
  return found;
}

function copyFile(
  { path, sizeBytes }: Extract<RecipeRecord, { type: "file" }>,
  index: number,
  replaced: ReadonlyMap<string, readonly Replaced[]>,
  replacedFd: number,
  out: Gathered,
): void {
  const aside = replaced.get(keyOf(path))?.find((one) => one.index > index);
  if (aside !== undefined) {
    checkSize(path, aside.sizeBytes, sizeBytes);
    out.copy(replacedFd, aside.offset, sizeBytes);
    return;
  }
  const status = findStatus(path);
  if (!isRegularFile(status)) throw changed(path);
  checkSize(path, status.sizeBytes, sizeBytes);
  using file: OwnedFd = openFile(path);
  out.copy(file.fd, 0, sizeBytes);
}

function checkSize(path: Uint8Array, found: number, expected: number): void {
  if (found !== expected) throw changed(path);
}

function changed(path: Uint8Array): AppError {
  const name = JSON.stringify(Buffer.from(path).toString().slice(0, 200));
  return new AppError(`${name} is not as it was unpacked`, { kind: "data-loss" });
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString("latin1");
}

/** Small pieces leave together: a system call for each header would cost more than all the rest. */
class Gathered {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #buffer = Buffer.allocUnsafe(pieceBytes);
  #length = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      const piece = bytes.subarray(at, at + pieceBytes - this.#length);
      this.#buffer.set(piece, this.#length);
      this.#advance(piece.byteLength);
      at += piece.byteLength;
    }
  }

  copy(fd: number, from: number, sizeBytes: number): void {
    for (let at = 0; at < sizeBytes; ) {
      const room = Math.min(pieceBytes - this.#length, sizeBytes - at);
      const count = readSync(fd, this.#buffer, this.#length, room, from + at);
      if (count === 0) throw new AppError("a file ends early", { kind: "data-loss" });
      this.#advance(count);
      at += count;
    }
  }

  flush(): void {
    if (this.#length > 0) this.#write(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  #advance(count: number): void {
    this.#length += count;
    if (this.#length === pieceBytes) this.flush();
  }
}
