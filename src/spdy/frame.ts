/* SPDY/3.1 frames: eight bytes of header, the last three of which count what follows. All numbers are big-endian. */

export const spdyVersion = 3;
export const frameHeaderBytes = 8;
/** No control frame that a client has reason to send comes near it. */
export const maxControlBytes = 16 * 1024;
/** How much of a stream goes into one frame that we send. */
export const maxDataBytes = 64 * 1024;

export const controlType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

const flagFin = 1;

export const resetStatus = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  cancel: 5,
  streamAlreadyClosed: 9,
} as const;

export const goAwayStatus = { ok: 0, protocolError: 1 } as const;

export type FrameHeader =
  | {
      readonly kind: "data";
      readonly stream: number;
      readonly isFin: boolean;
      readonly length: number;
    }
  | {
      readonly kind: "control";
      readonly version: number;
      readonly type: number;
      readonly isFin: boolean;
      readonly length: number;
    };

export function parseFrameHeader(bytes: Buffer): FrameHeader {
  const isFin = ((bytes[4] ?? 0) & flagFin) !== 0;
  const length = bytes.readUIntBE(5, 3);
  const first = bytes.readUInt32BE(0);
  if (first >>> 31 === 0) return { kind: "data", stream: first, isFin, length };
  const version = (first >>> 16) & 0x7fff;
  return { kind: "control", version, type: first & 0xffff, isFin, length };
}

export function formatControl(type: number, flags: number, body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderBytes + body.byteLength);
  frame.writeUInt16BE(0x8000 | spdyVersion, 0);
  frame.writeUInt16BE(type, 2);
  frame[4] = flags;
  frame.writeUIntBE(body.byteLength, 5, 3);
  frame.set(body, frameHeaderBytes);
  return frame;
}

/** A control frame of numbers of four bytes. */
export function formatNumbers(type: number, ...numbers: readonly number[]): Buffer {
  const body = Buffer.allocUnsafe(4 * numbers.length);
  for (const [i, number] of numbers.entries()) body.writeUInt32BE(number, 4 * i);
  return formatControl(type, 0, body);
}

export function formatData(stream: number, bytes: Uint8Array, isFin: boolean): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderBytes + bytes.byteLength);
  frame.writeUInt32BE(stream, 0);
  frame[4] = isFin ? flagFin : 0;
  frame.writeUIntBE(bytes.byteLength, 5, 3);
  frame.set(bytes, frameHeaderBytes);
  return frame;
}
