import type { FileHandle } from "node:fs/promises";
import { AppError } from "../lib/errors.ts";

/** Where something is in the file. */
export interface Section {
  readonly offset: number;
  readonly sizeBytes: number;
}

/**
 * The one file that users copy. The launcher is in front, and it finds its payload from the end (embed/launcher/payload.go);
 * images that `crib pack` added lie between the two, as an archive, and say so in the bytes before the payload.
 */
export interface ExecutableLayout {
  readonly launcher: Section;
  readonly images: Section | undefined;
  readonly payload: Section;
}

const payloadMagic = "crib payload v1\n";
const payloadTrailerBytes = 8 + 8 + 32 + payloadMagic.length;
const imagesMagic = "crib images v1\n\n";
const imagesTrailerBytes = 8 + imagesMagic.length;

export async function readLayout(file: FileHandle): Promise<ExecutableLayout> {
  const { size } = await file.stat();
  const trailer = await read(file, size - payloadTrailerBytes, payloadTrailerBytes);
  if (trailer?.toString("latin1", payloadTrailerBytes - payloadMagic.length) !== payloadMagic) {
    throw damaged("has no payload");
  }
  const archiveBytes = Number(trailer.readBigUInt64LE(0));
  const manifestBytes = Number(trailer.readBigUInt64LE(8));
  const payloadBytes = archiveBytes + manifestBytes + payloadTrailerBytes;
  const payload = { offset: size - payloadBytes, sizeBytes: payloadBytes };
  if (!(payload.offset > 0)) throw damaged("has a payload larger than itself");

  const mark = await read(file, payload.offset - imagesTrailerBytes, imagesTrailerBytes);
  if (mark?.toString("latin1", 8) !== imagesMagic) {
    return { launcher: { offset: 0, sizeBytes: payload.offset }, images: undefined, payload };
  }
  const imagesBytes = Number(mark.readBigUInt64LE(0));
  const offset = payload.offset - imagesTrailerBytes - imagesBytes;
  if (!(offset > 0)) throw damaged("has images larger than itself");
  return {
    launcher: { offset: 0, sizeBytes: offset },
    images: { offset, sizeBytes: imagesBytes },
    payload,
  };
}

/** What follows the archive of images, before the payload. */
export function imagesTrailer(sizeBytes: number): Buffer {
  const trailer = Buffer.alloc(imagesTrailerBytes);
  trailer.writeBigUInt64LE(BigInt(sizeBytes), 0);
  trailer.write(imagesMagic, 8);
  return trailer;
}

async function read(file: FileHandle, offset: number, length: number): Promise<Buffer | undefined> {
  if (offset < 0) return undefined;
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, offset);
  return bytesRead === length ? buffer : undefined;
}

function damaged(why: string): AppError {
  return new AppError(`the executable ${why}`, { kind: "data-loss" });
}
