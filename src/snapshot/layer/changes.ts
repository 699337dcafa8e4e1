import {
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
} from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { isNameError, readAttributes } from "../../os/file/inode.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import { opaqueMarker, whiteoutPrefix } from "../tar/entry-name.ts";
import { packTar, type TarMember, type TarMemberHeader } from "../tar/pack-tar.ts";

/*
 * What a container has changed, as an image layer has it (image-spec, layer.md): a file that hides one below it becomes
 * `.wh.<name>`, a directory that hides all below it has `.wh..wh..opq`. The container may go on changing it, so every
 * step is from an open directory and follows no link. Extended attributes are left out.
 */

const pieceBytes = 1 << 18;
const maxDepth = 1000;

/** A tar archive of an overlay's upper directory. */
export function readChanges(ctx: Context, upper: string): AsyncGenerator<Uint8Array> {
  return packTar(walkTop(ctx, upper));
}

async function* walkTop(ctx: Context, upper: string): AsyncGenerator<TarMember> {
  using top = openDirectory(upper);
  yield* walk({ ctx, linked: new Map() }, top.fd, "", 0);
}

interface Walk {
  readonly ctx: Context;
  /** First name of each file that has several, by inode. */
  readonly linked: Map<number, string>;
}

async function* walk(
  state: Walk,
  directory: number,
  prefix: string,
  depth: number,
): AsyncGenerator<TarMember> {
  if (depth > maxDepth)
    throw new AppError("directories nested too deep", { kind: "resource-exhausted" });
  for (const bytes of readdirSync(`/proc/self/fd/${directory}`, { encoding: "buffer" })) {
    state.ctx.signal.throwIfAborted();
    const name = bytes.toString();
    const path = prefix + name;
    if (!Buffer.from(name).equals(bytes)) {
      state.ctx.log.warn("file name that is not UTF-8 skipped", { path });
      continue;
    }
    try {
      yield* look(state, `/proc/self/fd/${directory}/${name}`, path, depth);
    } catch (err) {
      // It has gone, or become something else, in the meantime.
      if (!isErrno(err, "ENOENT") && !isNameError(err)) throw err;
    }
  }
}

async function* look(
  state: Walk,
  place: string,
  path: string,
  depth: number,
): AsyncGenerator<TarMember> {
  const status = lstatSync(place);
  if (status.isCharacterDevice() && status.rdev === 0) {
    yield empty(whiteout(path));
  } else if (status.isDirectory()) {
    using directory = openDirectory(place);
    yield { header: { ...common(status), name: `${path}/`, type: "directory" } };
    if (isOpaque(place)) yield empty(`${path}/${opaqueMarker}`);
    yield* walk(state, directory.fd, `${path}/`, depth + 1);
  } else if (status.isFile()) {
    yield* file(state, place, path);
  } else {
    const header = special(place, status);
    if (header !== undefined) yield { header: { ...common(status), ...header, name: path } };
  }
}

async function* file(state: Walk, place: string, path: string): AsyncGenerator<TarMember> {
  using opened = new OwnedFd(
    openSync(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  );
  const status = fstatSync(opened.fd);
  if (!status.isFile()) return;
  const first = state.linked.get(status.ino);
  if (status.nlink > 1 && first !== undefined) {
    yield { header: { ...common(status), name: path, type: "link", linkname: first } };
    return;
  }
  if (status.nlink > 1) state.linked.set(status.ino, path);
  const header = { ...common(status), name: path, size: status.size };
  yield { header, content: readExactly(opened.fd, status.size) };
}

/** So many bytes, whatever becomes of the file: zeros where it has become shorter. */
async function* readExactly(fd: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < sizeBytes; ) {
    const piece = Buffer.alloc(Math.min(pieceBytes, sizeBytes - at));
    const count = readSync(fd, piece, 0, piece.byteLength, at);
    yield count === 0 ? piece : piece.subarray(0, count);
    at += count === 0 ? piece.byteLength : count;
  }
}

function special(place: string, status: Stats): Omit<TarMemberHeader, "name"> | undefined {
  if (status.isSymbolicLink()) return { type: "symlink", linkname: readlinkSync(place) };
  if (status.isFIFO()) return { type: "fifo" };
  if (!status.isCharacterDevice() && !status.isBlockDevice()) return undefined;
  const type = status.isBlockDevice() ? "block-device" : "character-device";
  // makedev(3) backwards, for the numbers that tar can say.
  const devmajor = (status.rdev >> 8) & 0xfff;
  const devminor = (status.rdev & 0xff) | ((status.rdev >> 12) & 0xfff00);
  return { type, devmajor, devminor };
}

function common(status: Stats): Omit<TarMemberHeader, "name"> {
  return { mode: status.mode & 0o7777, uid: status.uid, gid: status.gid, mtime: status.mtime };
}

function empty(name: string): TarMember {
  return { header: { name, size: 0, mode: 0, uid: 0, gid: 0, mtime: new Date(0) } };
}

function whiteout(path: string): string {
  const at = path.lastIndexOf("/") + 1;
  return `${path.slice(0, at)}${whiteoutPrefix}${path.slice(at)}`;
}

function isOpaque(place: string): boolean {
  return readAttributes(Buffer.from(place)).some(
    ([attribute, value]) =>
      attribute.toString() === "trusted.overlay.opaque" && value.toString() === "y",
  );
}

function openDirectory(path: string): OwnedFd {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  return new OwnedFd(openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}
