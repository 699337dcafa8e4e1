import { ftruncateSync, statfsSync, writeSync } from "node:fs";
import { AppError, invalidArgument, kindOf } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import {
  createFile,
  findStatus,
  isDirectory,
  isNameError,
  makeDirectory,
  makeHardLink,
  makeNode,
  makeSymlink,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  setTime,
  type Timestamp,
} from "../../os/file/inode.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import type { RecordedSink } from "../recipe/recipe-recorder.ts";
import {
  opaqueMarker,
  pathOf,
  type Segments,
  segmentsOf,
  showName,
  whiteoutPrefix,
} from "../tar/entry-name.ts";
import { isOverlayWhiteout, type TarEntry } from "../tar/tar-reader.ts";
import { EntryMetadata } from "./entry-metadata.ts";
import type { LayerLimits, TreeReport } from "./layer-report.ts";
import { isWhiteout, makeDirectories, makeOpaque, removeTree } from "./layer-tree.ts";
import { SparseFile } from "./sparse-file.ts";

interface OpenFile {
  readonly fd: OwnedFd;
  readonly entry: TarEntry;
  readonly path: Segments;
  readonly sparse: SparseFile | undefined;
  /** Where the next bytes go. */
  position: number;
  /** Zeros that were not written: the file system has no blocks for them. */
  holeBytes: number;
}

const blockBytes = 4096;
const maxDeferredBytes = 4 << 20;
/** Shorter runs of zeros are written. */
const minHoleBytes = 16 << 10;
const zeros = Buffer.alloc(256 << 10);
/** How often the file system is asked for its free space. */
const checkEveryBytes = 32 << 20;

/**
 * Writes the entries of one layer below "/", which is the layer's directory: the process has been chrooted into it
 * and nobody else writes there. So every name is resolved by the kernel and ends up inside, whatever links the layer
 * has planted; nothing is remembered about names already seen. What needs the layers below is reported for later.
 */
export class LayerWriter implements RecordedSink {
  readonly #limits: LayerLimits;
  readonly #beforeReplacing: (path: Segments) => void;
  readonly #metadata = new EntryMetadata();
  readonly #implied = new Set<string>();
  readonly #links = new Map<string, string>();
  readonly #directoryTimes: [Segments, Timestamp][] = [];
  #file: OpenFile | undefined;
  #entries = 0;
  #inodes = 1;
  #sizeBytes = 0;
  #deferredBytes = 0;
  #uncheckedBytes = checkEveryBytes;
  #hasRootEntry = false;
  #isRootOpaque = false;

  /** `beforeReplacing` gets the path that is about to be removed because an entry takes its place. */
  constructor(limits: LayerLimits, beforeReplacing: (path: Segments) => void = () => {}) {
    this.#limits = limits;
    this.#beforeReplacing = beforeReplacing;
  }

  /** `path`: the entry's name in parts. */
  entry(entry: TarEntry, path: Segments): void {
    if (++this.#entries > this.#limits.entries) {
      const limit = `${this.#limits.entries} entries, the limit of images.max_layer_entries`;
      throw new AppError(`over ${limit}`, { kind: "resource-exhausted" });
    }
    try {
      this.#place(path, entry);
    } catch (cause) {
      throw this.#failed(path, cause);
    }
  }

  data(piece: Uint8Array): void {
    const file = this.#file;
    // What a whiteout holds says nothing.
    if (file === undefined) return;
    try {
      if (file.sparse !== undefined) file.sparse.write(piece);
      else this.#append(file, piece);
    } catch (cause) {
      throw this.#failed(file.path, cause);
    }
  }

  #append(file: OpenFile, piece: Uint8Array): void {
    if (isHole(piece)) file.holeBytes += piece.byteLength;
    else {
      this.#keepFree(piece.byteLength);
      // A descriptor's own position is that of a file without holes.
      const isPlain = file.holeBytes === 0;
      for (let at = 0; at < piece.byteLength; ) {
        const position = isPlain ? null : file.position + at;
        at += writeSync(file.fd.fd, piece, at, piece.byteLength - at, position);
      }
    }
    file.position += piece.byteLength;
  }

  /** A full disk ends the node's containers: it is not a pull that fills it. */
  #keepFree(bytes: number): void {
    this.#uncheckedBytes += bytes;
    if (this.#uncheckedBytes < checkEveryBytes) return;
    this.#uncheckedBytes = 0;
    const percent = this.#limits.keepFreePercent;
    const { bavail, blocks, bsize } = statfsSync("/");
    if (bavail * 100 >= blocks * percent) return;
    const free = `${Math.floor((bavail * bsize) / 2 ** 20)} MiB`;
    throw new AppError(
      `only ${free} of the disk are left, under the ${percent} % of images.keep_free_percent`,
      { kind: "resource-exhausted" },
    );
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    using fd = file.fd;
    try {
      file.sparse?.finish();
      if (file.entry.sparse !== undefined) ftruncateSync(fd.fd, file.entry.sparse.sizeBytes);
      else if (file.holeBytes > 0) ftruncateSync(fd.fd, file.position);
      this.#sizeBytes -= file.holeBytes - (file.holeBytes % blockBytes);
      this.#metadata.applyToFile(fd.fd, file.entry);
    } catch (cause) {
      throw this.#failed(file.path, cause);
    }
  }

  /** Times of directories come last, because each entry in one changes them. */
  finish(): TreeReport {
    for (const [path, time] of this.#directoryTimes) {
      if (isDirectory(findStatus(pathOf(path)))) setTime(pathOf(path), time);
    }
    return {
      entries: this.#entries,
      inodes: this.#inodes,
      sizeBytes: this.#sizeBytes + this.#directoryBytes(),
      leftOut: this.#metadata.leftOut,
      hasRootEntry: this.#hasRootEntry,
      isRootOpaque: this.#isRootOpaque,
      implied: [...this.#implied],
      links: [...this.#links],
    };
  }

  /** Known only now: a directory grows with what comes into it. */
  #directoryBytes(): number {
    const named = this.#directoryTimes.map(([path]) => path.join("/"));
    let bytes = 0;
    for (const name of new Set(["", ...named, ...this.#implied])) {
      const status = findStatus(pathOf(name === "" ? [] : name.split("/")));
      if (isDirectory(status)) bytes += status.usedBytes;
    }
    return bytes;
  }

  #place(path: Segments, entry: TarEntry): void {
    const last = path.at(-1);
    if (last === undefined) this.#placeRoot(entry);
    else if (last.startsWith(whiteoutPrefix)) this.#placeWhiteout(path, last);
    else this.#placeFile(path, entry);
  }

  #placeFile(path: Segments, entry: TarEntry): void {
    if (this.#implied.size > 0) this.#implied.delete(path.join("/"));
    if (this.#links.size > 0) this.#links.delete(path.join("/"));
    switch (entry.type) {
      case "file":
        this.#openFile(path, entry);
        return;
      case "directory":
        this.#placeDirectory(path, entry);
        return;
      case "hard-link":
        this.#placeHardLink(path, segmentsOf(entry.linkName));
        return;
      case "symlink":
        this.#make(path, () => makeSymlink(entry.linkName, pathOf(path)));
        break;
      case "fifo":
        this.#make(path, () => makeNode(pathOf(path), S_IFIFO | entry.mode, [0, 0]));
        break;
      case "character-device":
        if (isOverlayWhiteout(entry)) {
          this.#makeWhiteout(path);
          return;
        }
        this.#make(path, () => makeDevice(path, entry));
        break;
      case "block-device":
        this.#make(path, () => makeDevice(path, entry));
        break;
    }
    this.#metadata.applyToNode(pathOf(path), entry);
    this.#count(0);
  }

  #openFile(path: Segments, entry: TarEntry): void {
    const fd = this.#make(path, () => createFile(pathOf(path), entry.mode));
    const sparse =
      entry.sparse &&
      new SparseFile(entry.sparse, (data, position) => {
        this.#keepFree(data.byteLength);
        writeAt(fd.fd, data, position);
      });
    this.#file = { fd, entry, path, sparse, position: 0, holeBytes: 0 };
    if ((entry.sparse?.sizeBytes ?? 0) > this.#limits.uncompressedBytes) {
      const limit = `${this.#limits.uncompressedBytes} bytes, the limit of images.max_layer_bytes`;
      throw new AppError(`with its holes over ${limit}`, { kind: "resource-exhausted" });
    }
    this.#count(entry.sizeBytes);
  }

  #placeRoot(entry: TarEntry): void {
    if (entry.type !== "directory") throw invalidArgument("the root is not a directory");
    this.#hasRootEntry = true;
    this.#applyToDirectory([], entry, false);
  }

  #placeDirectory(path: Segments, entry: TarEntry): void {
    const isNew = this.#makeDirectory(path, entry.mode);
    if (isNew) this.#count(0);
    this.#applyToDirectory(path, entry, isNew);
  }

  /** False when it is there already. */
  #makeDirectory(path: Segments, mode: number): boolean {
    try {
      makeDirectory(pathOf(path), mode);
      return true;
    } catch (err) {
      if (!isErrno(err, "EEXIST") && !isErrno(err, "ENOENT") && !isErrno(err, "ENOTDIR")) throw err;
    }
    const status = findStatus(pathOf(path));
    if (isDirectory(status)) return false;
    this.#make(path, () => makeDirectory(pathOf(path), mode));
    // A directory instead of a whiteout shows nothing of the one that was whited out.
    if (status !== undefined && isWhiteout(status)) makeOpaque(path);
    return true;
  }

  #applyToDirectory(path: Segments, entry: TarEntry, isNew: boolean): void {
    this.#metadata.applyToDirectory(pathOf(path), entry, isNew);
    this.#directoryTimes.push([path, entry.mtime]);
  }

  /** The target may be in a layer below: that is not here, so it is left to the completion of the layer. */
  #placeHardLink(path: Segments, target: Segments): void {
    if (path.join("/") === target.join("/")) throw invalidArgument("a hard link to itself");
    const status = findStatus(pathOf(target));
    if (status === undefined) {
      this.#defer(path, target);
      this.#links.set(path.join("/"), target.join("/"));
      return;
    }
    if (isWhiteout(status)) throw invalidArgument("a hard link to a removed file");
    this.#make(path, () => makeHardLink(pathOf(target), pathOf(path)));
  }

  /**
   * `.wh.x` hides x of the layers below, never an x of this layer (image-spec, layer.md), in whatever order they come;
   * the opaque marker hides all that a directory has below. Other names of AUFS say nothing to us.
   */
  #placeWhiteout(path: Segments, last: string): void {
    const parent = path.slice(0, -1);
    if (last === opaqueMarker) {
      if (parent.length === 0) this.#isRootOpaque = true;
      this.#makeParents(path);
      if (parent.length > 0) makeOpaque(parent);
      return;
    }
    const hidden = last.slice(whiteoutPrefix.length);
    if (hidden.startsWith(whiteoutPrefix)) return;
    if (hidden === "" || hidden === "." || hidden === "..") {
      throw invalidArgument("a whiteout of no name");
    }
    const victim = [...parent, hidden];
    const status = findStatus(pathOf(victim));
    if (status === undefined) {
      this.#makeWhiteout(victim);
    } else if (isDirectory(status)) makeOpaque(victim);
  }

  /** Nothing of what the archive says of such a device is kept. */
  #makeWhiteout(path: Segments): void {
    this.#make(path, () => makeNode(pathOf(path), S_IFCHR, [0, 0]));
    this.#count(0);
  }

  /** Makes the file, with the directories above it and instead of what has its name, where needed. */
  #make<T>(path: Segments, make: () => T): T {
    for (let attempt = 0; ; attempt++) {
      try {
        return make();
      } catch (err) {
        if (attempt === 3) throw err;
        if (isErrno(err, "EEXIST")) {
          this.#beforeReplacing(path);
          removeTree(path);
        } else if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) this.#makeParents(path);
        else throw err;
      }
    }
  }

  #makeParents(path: Segments): void {
    for (const { segments, isOpaque } of makeDirectories(path.slice(0, -1))) {
      this.#count(0);
      if (isOpaque) continue;
      this.#defer(segments);
      this.#implied.add(segments.join("/"));
    }
  }

  #defer(...paths: readonly Segments[]): void {
    for (const path of paths) this.#deferredBytes += pathOf(path).byteLength;
    if (this.#deferredBytes > maxDeferredBytes) {
      throw new AppError("too many entries that need the layers below", {
        kind: "resource-exhausted",
      });
    }
  }

  #count(sizeBytes: number): void {
    this.#inodes++;
    this.#sizeBytes += sizeBytes === 0 ? 0 : Math.ceil(sizeBytes / blockBytes) * blockBytes;
  }

  #failed(path: Segments, cause: unknown): AppError {
    this.#file?.fd[Symbol.dispose]();
    this.#file = undefined;
    return new AppError(`entry ${showName(path)}`, {
      kind: isNameError(cause) ? "invalid-argument" : kindOf(cause),
      cause,
    });
  }
}

function makeDevice(path: Segments, { type, device, mode }: TarEntry): void {
  const kind = type === "character-device" ? S_IFCHR : S_IFBLK;
  makeNode(pathOf(path), kind | mode, device);
}

function writeAt(fd: number, data: Uint8Array, position: number): void {
  for (let at = 0; at < data.byteLength; ) {
    at += writeSync(fd, data, at, data.byteLength - at, position + at);
  }
}

/** Looks at two bytes of nearly every piece. */
function isHole(piece: Uint8Array): boolean {
  const { byteLength } = piece;
  if (byteLength < minHoleBytes || piece[0] !== 0 || piece[byteLength - 1] !== 0) return false;
  for (let at = 0; at < byteLength; at += zeros.byteLength) {
    const part = piece.subarray(at, at + zeros.byteLength);
    if (zeros.compare(part, 0, part.byteLength, 0, part.byteLength) !== 0) return false;
  }
  return true;
}
