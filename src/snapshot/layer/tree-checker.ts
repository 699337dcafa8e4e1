import { readdirSync, readSync } from "node:fs";
import { AppError } from "../../lib/errors.ts";
import {
  findStatus,
  isDirectory,
  isRegularFile,
  openFile,
  readAttributes,
} from "../../os/file/inode.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import {
  opaqueMarker,
  pathOf,
  type Segments,
  segmentsOf,
  showName,
  whiteoutPrefix,
} from "../tar/entry-name.ts";
import { isOverlayWhiteout, type TarEntry, type TarSink } from "../tar/tar-reader.ts";
import { describeEntry, describeFile } from "./describe-file.ts";
import { findDirectory, opaqueAttribute } from "./layer-tree.ts";
import { SparseFile } from "./sparse-file.ts";

type Expected = { readonly description: string } | { readonly linkTo: Segments };

const maxExtras = 100_000;

/**
 * Is given the entries of a layer's archive, and then compares the files below "/", the layer's directory, with them: all
 * of them are there and are what they should be. Content is compared of sparse files only; that of others went into the
 * archive's digest.
 */
export class TreeChecker implements TarSink {
  /** By the name in the archive, in the order in which they were given last. */
  readonly #entries = new Map<string, Expected>();
  readonly #whiteouts = new Set<string>();
  readonly #opaque = new Set<string>();
  /** An entry took the place of an earlier one: not all that was in the archive can be found again. */
  #hasReplaced = false;
  readonly #leftOut: ReadonlySet<string>;
  #sparse: { readonly file: OwnedFd; readonly reader: SparseFile } | undefined;

  /** `leftOut`: names of attributes that no file got. */
  constructor(leftOut: ReadonlySet<string>) {
    this.#leftOut = leftOut;
  }

  entry(entry: TarEntry): void {
    const path = segmentsOf(entry.name);
    const name = path.at(-1) ?? "";
    const key = path.join("/");
    if (name === opaqueMarker) this.#opaque.add(path.slice(0, -1).join("/"));
    else if (name.startsWith(whiteoutPrefix)) this.#addWhiteout(path, name);
    else if (isOverlayWhiteout(entry)) {
      if (this.#entries.delete(key)) this.#hasReplaced = true;
      this.#whiteouts.add(key);
    } else {
      if (this.#entries.delete(key) && entry.type !== "directory") this.#hasReplaced = true;
      const description = describeEntry(entry, this.#leftOut);
      const linkTo = () => ({ linkTo: segmentsOf(entry.linkName) });
      this.#entries.set(key, description === undefined ? linkTo() : { description });
      if (entry.sparse !== undefined) this.#openSparse(path, entry.sparse);
    }
  }

  data(piece: Uint8Array): void {
    this.#sparse?.reader.write(piece);
  }

  end(): void {
    this.#sparse?.reader.finish();
    this.#sparse?.file[Symbol.dispose]();
    this.#sparse = undefined;
  }

  /** Returns the files that are not from the archive: they must be from the layers below. Throws at what is wrong. */
  check(): readonly string[] {
    const expected = this.#resolved();
    const whiteouts = new Set([...this.#whiteouts].filter((key) => !expected.has(key)));
    const extras: string[] = [];
    for (const path of walk()) {
      const key = path.join("/");
      const entry = expected.get(key);
      if (entry !== undefined) {
        expected.delete(key);
        this.#compare(path, entry);
      } else if (path.length > 0 && !whiteouts.delete(key)) extras.push(key);
      if (this.#opaque.has(key) && path.length > 0) checkOpaque(path);
      if (extras.length > maxExtras) throw damaged(path, "is one of many that should not be there");
    }
    const [missing] = [...expected.keys(), ...whiteouts];
    if (missing !== undefined && !this.#hasReplaced)
      throw damaged(missing.split("/"), "is missing");
    return extras;
  }

  #addWhiteout(path: Segments, name: string): void {
    const hidden = name.slice(whiteoutPrefix.length);
    if (hidden.startsWith(whiteoutPrefix)) return;
    this.#whiteouts.add([...path.slice(0, -1), hidden].join("/"));
  }

  #openSparse(path: Segments, layout: NonNullable<TarEntry["sparse"]>): void {
    const status = findStatus(pathOf(path));
    if (!isRegularFile(status)) throw damaged(path, "is missing");
    const file = openFile(pathOf(path));
    const reader = new SparseFile(layout, (data, position) => {
      const found = Buffer.alloc(data.byteLength);
      readSync(file.fd, found, 0, found.byteLength, position);
      if (!found.equals(data)) throw damaged(path, "has other content");
    });
    this.#sparse = { file, reader };
  }

  /** The same without links in the names. */
  #resolved(): Map<string, Expected> {
    const directories = new Map<string, string | undefined>();
    const resolve = (parent: Segments): string | undefined => {
      const key = parent.join("/");
      if (!directories.has(key)) directories.set(key, findDirectory(parent)?.join("/"));
      return directories.get(key);
    };
    const resolved = new Map<string, Expected>();
    for (const [key, entry] of this.#entries) {
      const path = key === "" ? [] : key.split("/");
      const parent = resolve(path.slice(0, -1));
      if (parent !== undefined) {
        resolved.set(parent === "" ? (path.at(-1) ?? "") : `${parent}/${path.at(-1)}`, entry);
      } else if (!this.#hasReplaced) throw damaged(path, "is missing");
    }
    return resolved;
  }

  #compare(path: Segments, entry: Expected): void {
    const status = findStatus(pathOf(path));
    if (status === undefined) throw damaged(path, "is missing");
    if ("description" in entry) {
      const found = describeFile(pathOf(path), status, this.#leftOut);
      if (found !== entry.description)
        throw damaged(path, `is ${found} and not ${entry.description}`);
    } else if (!this.#hasReplaced && findStatus(pathOf(entry.linkTo))?.inode !== status.inode) {
      throw damaged(path, `is not linked to ${showName(entry.linkTo)}`);
    }
  }
}

/** Everything below the root directory, and it. */
function* walk(): Generator<Segments> {
  const todo: Segments[] = [[]];
  for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
    yield path;
    const directory = path;
    if (!isDirectory(findStatus(pathOf(directory)))) continue;
    for (const name of readdirSync(pathOf(directory), { encoding: "buffer" })) {
      todo.push([...directory, name.toString("latin1")]);
    }
  }
}

function checkOpaque(path: Segments): void {
  if (readAttributes(pathOf(path)).some(([name]) => opaqueAttribute.equals(name))) return;
  throw damaged(path, "does not hide what is below");
}

function damaged(path: Segments, how: string): AppError {
  return new AppError(`${showName(path)} ${how}`, { kind: "data-loss" });
}
