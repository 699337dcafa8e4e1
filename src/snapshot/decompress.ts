import { PassThrough, type Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { invalidArgument } from "../lib/errors.ts";

const chunkSize = 256 << 10;
const peekBytes = 4;

/**
 * The expanded bytes of a layer, whatever its media type says: gzip and zstd (several members or frames in a row too)
 * are known by their first bytes, anything else is taken as it is.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const input = source[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  for (let size = 0; size < peekBytes; ) {
    const next = await input.next();
    if (next.done === true) break;
    head.push(next.value);
    size += next.value.byteLength;
  }
  const expander = expanderOf(Buffer.concat(head));
  const fed = feed(expander, head, input);
  fed.catch((err) => expander.destroy(err));
  try {
    for await (const chunk of expander) yield chunk;
  } catch (cause) {
    throw invalidArgument("decompress", cause);
  }
  await fed;
}

function expanderOf(head: Buffer): Transform {
  if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return createGunzip({ chunkSize });
  const isZstd = head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528;
  const isSkippable = head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50;
  return isZstd || isSkippable ? createZstdDecompress({ chunkSize }) : new PassThrough();
}

async function feed(
  expander: Transform,
  head: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): Promise<void> {
  for (const chunk of head) await write(expander, chunk);
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    await write(expander, next.value);
  }
  expander.end();
}

async function write(expander: Transform, chunk: Uint8Array): Promise<void> {
  if (expander.destroyed) throw new Error("decompression has failed");
  if (expander.write(chunk)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  expander.once("drain", resolve);
  expander.once("close", resolve);
  await promise;
  expander.off("drain", resolve);
  expander.off("close", resolve);
}
