import { AppError } from "./errors.ts";

/** All of what comes; more than `maxBytes` is an error. */
export async function readLimited(
  source: AsyncIterable<Uint8Array> | null,
  maxBytes: number,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) {
      throw new AppError(`response over ${maxBytes} bytes`, { kind: "resource-exhausted" });
    }
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

/** The chunks that fit into `maxBytes`. The rest is read too, so that whoever writes it goes on. */
export async function readBeginning(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size <= maxBytes) chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
