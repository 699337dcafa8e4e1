import type { ByteReader } from "../lib/byte-reader.ts";
import { AppError } from "../lib/errors.ts";

/*
 * A ttrpc connection carries frames (PROTOCOL.md of github.com/containerd/ttrpc): a header of length (4 bytes, big
 * endian), stream (4), type (1) and flags (1), then `length` bytes. Each call is a stream with a number that the client
 * chose, odd and rising: one request frame, one response frame. Frames of streaming calls are not spoken here.
 */

export const headerBytes = 10;
/** What every implementation takes; a longer frame means that the peer is broken or hostile. */
export const maxFrameBytes = 4 << 20;

export const FrameType = { request: 1, response: 2, data: 3 } as const;

export interface Frame {
  readonly stream: number;
  readonly type: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

/** `undefined` at the end of the connection. Throws `resource-exhausted` before reading what is too long. */
export async function readFrame(reader: ByteReader): Promise<Frame | undefined> {
  const header = await readWhole(reader, headerBytes);
  if (header === undefined) return undefined;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const length = view.getUint32(0);
  checkLength(length);
  const data = await readWhole(reader, length);
  if (data === undefined) {
    throw new AppError("the connection ended in the middle of a frame", { kind: "unavailable" });
  }
  return { stream: view.getUint32(4), type: view.getUint8(8), flags: view.getUint8(9), data };
}

/** Exactly so many bytes; `undefined` where the connection ended before the first of them, which may be in good order. */
export async function readWhole(reader: ByteReader, count: number): Promise<Buffer | undefined> {
  const bytes = await reader.exactly(count);
  if (!reader.isCutOff) return bytes;
  throw new AppError("the connection ended in the middle of a message", { kind: "unavailable" });
}

/** Header and data in one piece. */
export function encodeFrame({ stream, type, flags, data }: Frame): Uint8Array {
  checkLength(data.byteLength);
  const bytes = new Uint8Array(headerBytes + data.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.byteLength);
  view.setUint32(4, stream);
  view.setUint8(8, type);
  view.setUint8(9, flags);
  bytes.set(data, headerBytes);
  return bytes;
}

function checkLength(length: number): void {
  if (length <= maxFrameBytes) return;
  throw new AppError(`ttrpc: a frame of ${length} bytes, over the limit of ${maxFrameBytes}`, {
    kind: "resource-exhausted",
  });
}
