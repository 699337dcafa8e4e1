import { invalidArgument } from "../../lib/errors.ts";
import type { Name } from "../../os/file/inode.ts";

/** The parts of a path below the root, as latin1 strings: one character a byte, so that nothing is lost. */
export type Segments = readonly string[];

/** A name that begins so hides the rest of it in the layers below (image-spec, layer.md). */
export const whiteoutPrefix = ".wh.";
/** Hides all that its directory has below. */
export const opaqueMarker = ".wh..wh..opq";

const maxPathBytes = 4095;
const maxSegmentBytes = 255;
const maxDepth = 1024;

/** Splits a name as an archive has it. `..` goes up as far as the root, as it does for a process in a chroot. */
export function segmentsOf(name: Name): Segments {
  if (name.byteLength === 0) throw invalidArgument("tar entry without a name");
  if (name.byteLength > maxPathBytes)
    throw invalidArgument("tar entry with a name over 4095 bytes");
  const segments: string[] = [];
  for (const part of Buffer.from(name).toString("latin1").split("/")) {
    if (part === "..") segments.pop();
    else if (part !== "" && part !== ".") segments.push(part);
    if (part.length > maxSegmentBytes) {
      throw invalidArgument(`tar entry with a part of ${part.length} bytes in its name`);
    }
  }
  if (segments.length > maxDepth) throw invalidArgument(`tar entry deeper than ${maxDepth}`);
  return segments;
}

/** The absolute path, for a system call in a chroot. */
export function pathOf(segments: Segments): Buffer {
  return Buffer.from(`/${segments.join("/")}`, "latin1");
}

/** For messages: printable whatever the bytes are. */
export function showName(segments: Segments): string {
  return JSON.stringify(pathOf(segments).toString().slice(0, 200));
}
