import { join } from "node:path";
import type { Transform } from "node:stream";
import { invalidArgument } from "../../lib/errors.ts";
import type { Decompressor } from "../../os/decompressor/decompressor.ts";
import { openIsal } from "../../os/decompressor/isal.ts";
import { openLibzstd } from "../../os/decompressor/libzstd.ts";

/** The decompressors in native code that are there. Bun's own streams stand in for what is missing, at a third of the pace. */
export interface NativeDecompressors {
  readonly gzip: (() => Decompressor) | undefined;
  readonly zstd: (() => Decompressor) | undefined;
}

/** Loads them from the directory of libraries in the payload: before a chroot, so that nothing is ever loaded in there. */
export function openDecompressors(libraries: string): NativeDecompressors {
  return {
    gzip: openIsal(join(libraries, "libisal.so.2")),
    zstd: openLibzstd(join(libraries, "libzstd.so.1")),
  };
}

const noDecompressors: NativeDecompressors = { gzip: undefined, zstd: undefined };

type Compression = "gzip" | "zstd" | "none";

/** Stays in a core's cache until it has been digested and written. */
const outputBytes = 256 << 10;
const chunkSize = 256 << 10;
const peekBytes = 4;

/**
 * The decompressed bytes of a layer, whatever its media type says: gzip and zstd (several members or frames in a row too)
 * are known by their first bytes, anything else is taken as it is. A piece, taken or given, is valid until the next one.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  native: NativeDecompressors = noDecompressors,
): AsyncGenerator<Uint8Array> {
  const input = source[Symbol.asyncIterator]();
  const head = await peek(input);
  const compression = compressionOf(head);
  const all = joined(head, input);
  const open = compression === "none" ? undefined : native[compression];
  try {
    if (compression === "none") yield* all;
    else if (open !== undefined) yield* decompressNatively(all, open);
    else yield* decompressByStream(all, compression);
  } finally {
    await input.return?.();
  }
}

async function peek(input: AsyncIterator<Uint8Array>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  while (head.byteLength < peekBytes) {
    const next = await input.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

export function compressionOf(head: Buffer): Compression {
  if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return "gzip";
  const isZstd = head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528;
  const isSkippable = head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50;
  return isZstd || isSkippable ? "zstd" : "none";
}

async function* joined(
  head: Buffer,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (head.byteLength > 0) yield head;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function* decompressNatively(
  source: AsyncIterable<Uint8Array>,
  open: () => Decompressor,
): AsyncGenerator<Uint8Array> {
  using decompressor = open();
  const output = Buffer.alloc(outputBytes);
  for await (const chunk of source) {
    decompressor.feed(chunk);
    for (
      let count = decompressor.decompress(output);
      count > 0;
      count = decompressor.decompress(output)
    ) {
      yield output.subarray(0, count);
    }
  }
  if (!decompressor.isComplete) throw invalidArgument("decompress: ends too early");
}

async function* decompressByStream(
  source: AsyncIterable<Uint8Array>,
  compression: "gzip" | "zstd",
): AsyncGenerator<Uint8Array> {
  // Imported, it would take a third of the time and 5 MB of each child that starts, though hardly any needs it.
  const zlib = process.getBuiltinModule("node:zlib");
  const decompressor =
    compression === "gzip"
      ? zlib.createGunzip({ chunkSize })
      : zlib.createZstdDecompress({ chunkSize });
  const fed = feed(decompressor, source);
  fed.catch((err) => decompressor.destroy(err));
  try {
    for await (const chunk of decompressor) yield chunk;
  } catch (cause) {
    throw invalidArgument("decompress", cause);
  }
  await fed;
}

async function feed(decompressor: Transform, source: AsyncIterable<Uint8Array>): Promise<void> {
  // A stream keeps what it is given for later.
  for await (const chunk of source) await write(decompressor, Buffer.from(chunk));
  decompressor.end();
}

async function write(decompressor: Transform, chunk: Uint8Array): Promise<void> {
  if (decompressor.destroyed) throw new Error("decompression has failed");
  if (decompressor.write(chunk)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  decompressor.once("drain", resolve);
  decompressor.once("close", resolve);
  await promise;
  decompressor.off("drain", resolve);
  decompressor.off("close", resolve);
}
