import { AppError } from "../../lib/errors.ts";
import type { SpdyStream } from "../../spdy/stream.ts";

/** The next bytes; `undefined` at the end. A stream that breaks is a connection that was cut. */
export async function readStream(stream: SpdyStream): Promise<Buffer | undefined> {
  try {
    return await stream.read();
  } catch (cause) {
    throw new AppError("the daemon cut the connection", { kind: "unavailable", cause });
  }
}

export const maxErrorBytes = 64 * 1024;

/** All that an error stream says. */
export async function readErrorStream(stream: SpdyStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for (let bytes = await readStream(stream); bytes; bytes = await readStream(stream)) {
    size += bytes.byteLength;
    if (size > maxErrorBytes) {
      throw new AppError(`error over ${maxErrorBytes} bytes`, { kind: "resource-exhausted" });
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
