import { type Extract, extract } from "tar-stream";
import type { Context } from "../../lib/context.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { type Digest, Digester, digestHex } from "../../oci/digest.ts";
import { maxManifestBytes } from "../../oci/manifest.ts";
import { compressionOf, decompress } from "../../snapshot/layer/decompress.ts";
import type { LayerStore, UnpackedLayer } from "../../snapshot/snapshotter.ts";
import type { ImageArchive } from "./archive.ts";
import { nameOf } from "./archive-file.ts";

/** A layer that has been unpacked from a passing archive. It goes to one image's chain of layers. */
export interface PassedLayer {
  readonly diffId: Digest;
  readonly isTaken: () => boolean;
  readonly take: () => UnpackedLayer;
}

/** What is left of an archive after it has passed: its documents, and its layers unpacked. Disposing removes what nobody took. */
export interface PassedArchive extends ImageArchive {
  findLayer(name: string): PassedLayer | undefined;
}

type Member = Extract extends AsyncIterable<infer Source> ? Source : never;

const maxFiles = 100_000;
const maxDocumentBytes = 64 << 20;

interface Passed {
  readonly documents: Map<string, Buffer>;
  documentBytes: number;
  readonly layers: Map<
    string,
    PassedLayer & { readonly digest: Digest; readonly sizeBytes: number }
  >;
  readonly links: Map<string, string>;
}

/**
 * Reads an archive of images once from beginning to end, with tar-stream: its names are digests and ASCII, its extension
 * headers are limited, and the layers inside are read by our own reader as ever. Files that are JSON are kept, gzip, zstd
 * and tar files are layers and unpacked; anything else says nothing.
 */
export async function readPassing(
  ctx: Context,
  layers: Pick<LayerStore, "unpack">,
  source: AsyncIterable<Uint8Array>,
): Promise<PassedArchive> {
  await using undo = new AsyncDisposableStack();
  const passed: Passed = {
    documents: new Map(),
    documentBytes: 0,
    layers: new Map(),
    links: new Map(),
  };
  const entries = extract();
  const feeding = feed(decompress(source), entries);
  feeding.catch(() => {});
  let files = 0;
  try {
    for await (const entry of entries) {
      ctx.signal.throwIfAborted();
      if (++files > maxFiles) throw invalidArgument(`over ${maxFiles} files`);
      await takeEntry(ctx, layers, passed, entry, undo);
    }
    await feeding;
  } catch (err) {
    entries.destroy();
    const cause = await feeding.then(
      () => err,
      (failure) => failure,
    );
    throw cause instanceof AppError ? cause : invalidArgument("read archive", cause);
  }
  return passedArchive(passed, undo.move());
}

/** Whatever ends one of the two ends the other. */
async function feed(source: AsyncIterable<Uint8Array>, into: Extract): Promise<void> {
  const closed = new Promise<void>((resolve) => into.on("close", () => resolve()));
  try {
    for await (const piece of source) {
      // A piece is valid until the next one, and the extraction keeps some.
      if (into.destroying) return;
      if (into.write(Buffer.from(piece))) continue;
      const drained = new Promise<void>((resolve) => into.once("drain", () => resolve()));
      await Promise.race([drained, closed]);
    }
    into.end(null);
  } catch (err) {
    into.destroy(err instanceof Error ? err : new Error(String(err)));
    throw err;
  }
}

async function takeEntry(
  ctx: Context,
  layers: Pick<LayerStore, "unpack">,
  passed: Passed,
  entry: Member,
  undo: AsyncDisposableStack,
): Promise<void> {
  const { type, linkname } = entry.header;
  const name = nameOf(Buffer.from(entry.header.name));
  if (type === "link") passed.links.set(name, nameOf(Buffer.from(linkname ?? "")));
  if (type === "symlink") {
    const target = new URL(linkname ?? "", `file:///${name}`).pathname;
    passed.links.set(name, nameOf(Buffer.from(target)));
  }
  if (type !== "file") {
    entry.resume();
    return;
  }
  const bytes = (entry as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const first = await bytes.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  const all = from(head, bytes);
  const sizeBytes = entry.header.size ?? 0;
  if (isLayer(head)) await takeLayer(ctx, layers, passed, { name, sizeBytes, bytes: all }, undo);
  else if (sizeBytes <= maxManifestBytes) await takeDocument(passed, name, all);
  else for await (const _ of all);
}

async function* from(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (head.byteLength > 0) yield head;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

/** A document is JSON and begins with a brace; a tar archive has its magic word, or is old and has a checksum only. */
function isLayer(head: Buffer): boolean {
  const isTar = head.byteLength >= 512 && head.toString("latin1", 257, 262) === "ustar";
  return isTar || compressionOf(head.subarray(0, 4)) !== "none" || isZeros(head);
}

/** An archive of no files. */
function isZeros(head: Buffer): boolean {
  return head.byteLength >= 512 && head.subarray(0, 512).every((byte) => byte === 0);
}

async function takeLayer(
  ctx: Context,
  layers: Pick<LayerStore, "unpack">,
  passed: Passed,
  file: {
    readonly name: string;
    readonly sizeBytes: number;
    readonly bytes: AsyncIterable<Buffer>;
  },
  undo: AsyncDisposableStack,
): Promise<void> {
  const hash = new Digester();
  async function* hashed() {
    for await (const chunk of file.bytes) {
      hash.update(chunk);
      yield chunk;
    }
  }
  let unpacked: UnpackedLayer;
  try {
    unpacked = undo.use(await layers.unpack(ctx, hashed()));
  } catch (cause) {
    throw new AppError(`layer ${file.name}`, { kind: "invalid-argument", cause });
  }
  const digest = hash.digest();
  const isNamed = file.name.startsWith("blobs/sha256/");
  if (isNamed && !file.name.endsWith(`/${digestHex(digest)}`)) {
    throw new AppError(`${file.name}: the bytes are ${digest}`, { kind: "data-loss" });
  }
  let isTaken = false;
  passed.layers.set(file.name, {
    digest,
    sizeBytes: file.sizeBytes,
    diffId: unpacked.diffId,
    isTaken: () => isTaken,
    take: () => {
      isTaken = true;
      return unpacked;
    },
  });
}

async function takeDocument(
  passed: Passed,
  name: string,
  bytes: AsyncIterable<Buffer>,
): Promise<void> {
  const content = Buffer.concat(await Array.fromAsync(bytes));
  passed.documentBytes += content.byteLength;
  if (passed.documentBytes > maxDocumentBytes) {
    throw new AppError(`over ${maxDocumentBytes} bytes of documents`, {
      kind: "resource-exhausted",
    });
  }
  passed.documents.set(name, content);
}

function passedArchive(passed: Passed, resources: AsyncDisposableStack): PassedArchive {
  const resolve = (name: string) => passed.links.get(name) ?? name;
  const documentOf = (name: string): Buffer => {
    const document = passed.documents.get(resolve(name));
    if (document === undefined)
      throw invalidArgument(`no file ${JSON.stringify(name.slice(0, 200))}`);
    return document;
  };
  return {
    path: "archive",
    findLayer: (name) => passed.layers.get(resolve(name)),
    has: (name) => passed.documents.has(resolve(name)),
    sizeOf: (name) => passed.layers.get(resolve(name))?.sizeBytes ?? documentOf(name).byteLength,
    digestOf: (name) => passed.layers.get(resolve(name))?.digest,
    read: (name, maxBytes) => {
      const document = documentOf(name);
      if (document.byteLength <= maxBytes) return Promise.resolve(document);
      throw new AppError(`${name}: over ${maxBytes} bytes`, { kind: "resource-exhausted" });
    },
    stream: async function* (name) {
      yield documentOf(name);
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
