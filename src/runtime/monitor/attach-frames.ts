/*
 * What a connection to a monitor carries after the response to `attach`: frames of a kind (one byte), a length (four
 * bytes, big-endian) and that many bytes. From the monitor come the container's output, and `end` when it has ended; a
 * connection that ends without it was cut off. To the monitor go input, and `stdinEnd` when there will be no more.
 */
export const frameKind = { stdin: 0, stdout: 1, stderr: 2, stdinEnd: 3, end: 4 } as const;

export type FrameKind = (typeof frameKind)[keyof typeof frameKind];

export interface AttachFrame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

export const frameHeaderBytes = 5;
export const maxPayloadBytes = 64 * 1024;

export function writeFrameHeader(into: Buffer, kind: FrameKind, length: number): void {
  into[0] = kind;
  into.writeUInt32BE(length, 1);
}

export function formatFrame(kind: FrameKind, payload: Uint8Array): Buffer {
  if (payload.byteLength > maxPayloadBytes) throw new RangeError("frame too long");
  const frame = Buffer.allocUnsafe(frameHeaderBytes + payload.byteLength);
  writeFrameHeader(frame, kind, payload.byteLength);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

/** Cuts what comes into frames. */
export class FrameParser {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames that are whole now. Throws at what is none. */
  push(chunk: Uint8Array): readonly AttachFrame[] {
    let rest = this.#rest.byteLength === 0 ? asBuffer(chunk) : Buffer.concat([this.#rest, chunk]);
    const frames: AttachFrame[] = [];
    while (rest.byteLength >= frameHeaderBytes) {
      const kind = readKind(rest[0] ?? 255);
      const end = frameHeaderBytes + rest.readUInt32BE(1);
      if (end > frameHeaderBytes + maxPayloadBytes) throw new RangeError("attach frame too long");
      if (rest.byteLength < end) break;
      frames.push({ kind, payload: rest.subarray(frameHeaderBytes, end) });
      rest = rest.subarray(end);
    }
    this.#rest = rest;
    return frames;
  }
}

function readKind(value: number): FrameKind {
  for (const kind of Object.values(frameKind)) if (kind === value) return kind;
  throw new RangeError(`no attach frame is of kind ${value}`);
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}
