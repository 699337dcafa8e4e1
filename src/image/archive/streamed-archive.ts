import { readLimited } from "../../lib/collect.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { type Digest, Digester, digestHex } from "../../oci/digest.ts";
import { maxManifestBytes } from "../../oci/manifest.ts";
import { compressionOf, decompress } from "../../snapshot/layer/decompress.ts";
import type { LayerStore, UnpackedLayer } from "../../snapshot/snapshotter.ts";
import { type TarEntry, TarReader } from "../../snapshot/tar/tar-reader.ts";
import type { ImageArchive } from "./archive.ts";
import { nameOf, resolveLink } from "./archive-file.ts";

/** A layer that has been unpacked from a streamed archive. It goes to one image's chain of layers. */
export interface StreamedLayer {
  readonly diffId: Digest;
  readonly isTaken: () => boolean;
  readonly take: () => UnpackedLayer;
}

/** What is left of an archive after it has been read as a stream: its documents, and its layers unpacked. Disposing removes what nobody took. */
export interface StreamedArchive extends ImageArchive {
  findLayer(name: string): StreamedLayer | undefined;
}

/** What the reader comes upon, in order. A piece of data is valid until the next event is asked for. */
type TarEvent =
  | { readonly kind: "entry"; readonly entry: TarEntry }
  | { readonly kind: "data"; readonly piece: Uint8Array }
  | { readonly kind: "end" };

const maxFiles = 100_000;
/** A tar header. */
const headBytes = 512;
const maxDocumentBytes = 64 << 20;

interface Streamed {
  readonly documents: Map<string, Buffer>;
  documentBytes: number;
  readonly layers: Map<
    string,
    StreamedLayer & { readonly digest: Digest; readonly sizeBytes: number }
  >;
  readonly links: Map<string, string>;
}

/**
 * Reads an archive of images once from beginning to end, in whatever pieces its bytes come. Files that are JSON are kept,
 * gzip, zstd and tar files are layers and unpacked; anything else says nothing, and neither does what follows the end mark.
 */
export async function readStreamed(
  ctx: Context,
  layers: Pick<LayerStore, "unpack">,
  source: AsyncIterable<Uint8Array>,
): Promise<StreamedArchive> {
  await using rollback = new AsyncDisposableStack();
  const streamed: Streamed = {
    documents: new Map(),
    documentBytes: 0,
    layers: new Map(),
    links: new Map(),
  };
  const events = readEvents(decompress(source));
  let files = 0;
  try {
    for (let next = await events.next(); next.done !== true; next = await events.next()) {
      ctx.signal.throwIfAborted();
      if (next.value.kind !== "entry") continue;
      if (++files > maxFiles) throw invalidArgument(`over ${maxFiles} files`);
      await takeEntry(ctx, layers, streamed, next.value.entry, dataOf(events), rollback);
    }
  } catch (err) {
    throw err instanceof AppError ? err : new Error("read archive", { cause: err });
  } finally {
    await events.return();
  }
  return streamedArchive(streamed, rollback.move());
}

async function* readEvents(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<TarEvent, void, undefined> {
  const events: TarEvent[] = [];
  const reader = new TarReader({
    entry: (entry) => void events.push({ kind: "entry", entry }),
    data: (piece) => void events.push({ kind: "data", piece }),
    end: () => void events.push({ kind: "end" }),
  });
  for await (const piece of source) {
    reader.write(piece);
    yield* events.splice(0);
  }
  reader.finish();
}

/** The contents of the file whose entry came last. */
async function* dataOf(
  events: AsyncGenerator<TarEvent, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let next = await events.next(); next.done !== true; next = await events.next()) {
    if (next.value.kind === "end") return;
    if (next.value.kind === "data") yield next.value.piece;
  }
}

async function takeEntry(
  ctx: Context,
  layers: Pick<LayerStore, "unpack">,
  streamed: Streamed,
  entry: TarEntry,
  bytes: AsyncGenerator<Uint8Array, void, undefined>,
  rollback: AsyncDisposableStack,
): Promise<void> {
  const name = nameOf(entry.name);
  if (entry.type === "hard-link" || entry.type === "symlink") {
    streamed.links.set(name, resolveLink(entry));
  }
  if (entry.type !== "file") return;
  const head = await readHead(bytes);
  const all = from(head, bytes);
  const { sizeBytes } = entry;
  if (isLayer(head))
    await takeLayer(ctx, layers, streamed, { name, sizeBytes, bytes: all }, rollback);
  else if (sizeBytes <= maxManifestBytes) await takeDocument(streamed, name, all);
  else for await (const _ of all);
}

/** What distinguishes a layer from a document. */
async function readHead(bytes: AsyncIterator<Uint8Array>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  while (head.byteLength < headBytes) {
    const next = await bytes.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

async function* from(
  head: Buffer,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (head.byteLength > 0) yield head;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

/** A document is JSON and begins with a brace; a tar archive has its magic word, or is old and has a checksum only. */
function isLayer(head: Buffer): boolean {
  const isTar = head.byteLength >= headBytes && head.toString("latin1", 257, 262) === "ustar";
  return isTar || compressionOf(head.subarray(0, 4)) !== "none" || isZeros(head);
}

/** An archive of no files. */
function isZeros(head: Buffer): boolean {
  return head.byteLength >= headBytes && head.subarray(0, headBytes).every((byte) => byte === 0);
}

async function takeLayer(
  ctx: Context,
  layers: Pick<LayerStore, "unpack">,
  streamed: Streamed,
  file: {
    readonly name: string;
    readonly sizeBytes: number;
    readonly bytes: AsyncIterable<Uint8Array>;
  },
  rollback: AsyncDisposableStack,
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
    unpacked = rollback.use(await layers.unpack(ctx, hashed()));
  } catch (cause) {
    throw new AppError(`layer ${file.name}`, { kind: "invalid-argument", cause });
  }
  const digest = hash.digest();
  const isNamed = file.name.startsWith("blobs/sha256/");
  if (isNamed && !file.name.endsWith(`/${digestHex(digest)}`)) {
    throw new AppError(`${file.name}: the bytes are ${digest}`, { kind: "data-loss" });
  }
  let isTaken = false;
  streamed.layers.set(file.name, {
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
  streamed: Streamed,
  name: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const content = await readLimited(bytes, maxManifestBytes);
  streamed.documentBytes += content.byteLength;
  if (streamed.documentBytes > maxDocumentBytes) {
    throw new AppError(`over ${maxDocumentBytes} bytes of documents`, {
      kind: "resource-exhausted",
    });
  }
  streamed.documents.set(name, content);
}

function streamedArchive(streamed: Streamed, resources: AsyncDisposableStack): StreamedArchive {
  const resolve = (name: string) => streamed.links.get(name) ?? name;
  const documentOf = (name: string): Buffer => {
    const document = streamed.documents.get(resolve(name));
    if (document === undefined)
      throw invalidArgument(`no file ${JSON.stringify(name.slice(0, 200))}`);
    return document;
  };
  return {
    path: "archive",
    findLayer: (name) => streamed.layers.get(resolve(name)),
    has: (name) => streamed.documents.has(resolve(name)),
    sizeOf: (name) => streamed.layers.get(resolve(name))?.sizeBytes ?? documentOf(name).byteLength,
    digestOf: (name) => streamed.layers.get(resolve(name))?.digest,
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
