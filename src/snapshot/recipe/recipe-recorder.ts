import { readdirSync, readSync } from "node:fs";
import { writeAll } from "../../os/file/blocking-io.ts";
import { findStatus, isDirectory, isRegularFile, openFile } from "../../os/file/inode.ts";
import { pathOf, type Segments, segmentsOf, whiteoutPrefix } from "../tar/entry-name.ts";
import { type TarEntry, TarReader, type TarSink } from "../tar/tar-reader.ts";
import { RecipeEncoder } from "./recipe-format.ts";

const copyBytes = 1 << 18;

/** Descriptors that were opened before the process was confined. */
export interface RecipeFiles {
  readonly recipe: number;
  /** Contents that a later entry of the same archive replaced. Stays empty with nearly every image. */
  readonly replaced: number;
}

/** A `TarSink` that also gets each entry's name in parts, which has been checked. */
export interface RecordedSink extends Omit<TarSink, "entry"> {
  entry(entry: TarEntry, path: Segments): void;
}

/**
 * Reads an archive into `sink` and writes the recipe by which the archive can be made again from the files (recipe-format.ts).
 * Everything between the files' data is kept as it is; data is kept only where no file will have it.
 */
export class RecipeRecorder {
  readonly #reader: TarReader;
  readonly #files: RecipeFiles;
  readonly #encoder: RecipeEncoder;
  #chunk: Uint8Array = new Uint8Array();
  #at = 0;
  #file: { readonly path: Buffer; readonly sizeBytes: number } | undefined;
  #isInFile = false;
  #replacedBytes = 0;

  constructor(sink: RecordedSink, files: RecipeFiles) {
    this.#files = files;
    this.#encoder = new RecipeEncoder((bytes) => writeAll(files.recipe, bytes));
    this.#reader = new TarReader({
      entry: (entry) => {
        const path = segmentsOf(entry.name);
        sink.entry(entry, path);
        this.#begin(entry, path);
      },
      data: (piece) => {
        sink.data(piece);
        this.#skip(piece);
      },
      end: () => {
        sink.end();
        this.#isInFile = false;
      },
    });
  }

  write(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
    this.#reader.write(chunk);
    this.#keepUpTo(chunk.byteLength);
  }

  /** To be called when no more bytes come. */
  finish(): void {
    this.#reader.finish();
    this.#encoder.flush();
  }

  /** To be called before an entry replaces what is at `path`, a file or all of a directory: the contents are still wanted. */
  keep(path: Segments): void {
    const todo: Segments[] = [path];
    for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
      const directory = at;
      const name = pathOf(directory);
      const status = findStatus(name);
      if (isRegularFile(status)) this.#keepFile(name);
      if (!isDirectory(status)) continue;
      for (const child of readdirSync(name, { encoding: "buffer" })) {
        todo.push([...directory, child.toString("latin1")]);
      }
    }
  }

  #keepFile(name: Buffer): void {
    using file = openFile(name);
    const buffer = Buffer.allocUnsafe(copyBytes);
    const offset = this.#replacedBytes;
    for (let count = readSync(file.fd, buffer); count > 0; count = readSync(file.fd, buffer)) {
      writeAll(this.#files.replaced, buffer.subarray(0, count));
      this.#replacedBytes += count;
    }
    if (this.#replacedBytes > offset) {
      this.#encoder.replaced(name, this.#replacedBytes - offset, offset);
    }
  }

  #begin({ type, sizeBytes, sparse }: TarEntry, path: Segments): void {
    const isWhiteout = path.at(-1)?.startsWith(whiteoutPrefix) === true;
    // A sparse file's data is not what the file holds, and a whiteout's is nowhere.
    const isKept = type === "file" && sparse === undefined && !isWhiteout;
    this.#file = isKept ? { path: pathOf(path), sizeBytes } : undefined;
    this.#isInFile = false;
  }

  #skip(piece: Uint8Array): void {
    if (this.#file === undefined) return;
    if (piece.buffer !== this.#chunk.buffer) throw new TypeError("data from another chunk");
    const start = piece.byteOffset - this.#chunk.byteOffset;
    this.#keepUpTo(start);
    if (!this.#isInFile) this.#encoder.file(this.#file.path, this.#file.sizeBytes);
    this.#isInFile = true;
    this.#at = start + piece.byteLength;
  }

  #keepUpTo(end: number): void {
    if (end > this.#at) this.#encoder.literal(this.#chunk.subarray(this.#at, end));
    this.#at = end;
  }
}
