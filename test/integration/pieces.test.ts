import { describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { readStreamed } from "../../src/image/archive/streamed-archive.ts";
import { ByteReader } from "../../src/lib/byte-reader.ts";
import { silentLog } from "../../src/lib/log.ts";
import { Digester } from "../../src/oci/digest.ts";
import { HostClient } from "../../src/registry/host-client.ts";
import { noProxy } from "../../src/registry/hosts/proxy.ts";
import { plainHost } from "../../src/registry/hosts/registry-host.ts";
import { FrameParser, formatFrame, frameKind } from "../../src/runtime/monitor/attach-frames.ts";
import { decompress, openDecompressors } from "../../src/snapshot/layer/decompress.ts";
import type { UnpackedLayer } from "../../src/snapshot/snapshotter.ts";
import { TarReader } from "../../src/snapshot/tar/tar-reader.ts";
import type { ByteChannel } from "../../src/spdy/byte-channel.ts";
import { SpdyConnection } from "../../src/spdy/connection.ts";
import { readRequestHead } from "../../src/streaming/http-head.ts";
import { TerminalSizeParser } from "../../src/streaming/terminal-size.ts";
import { WebSocketConnection } from "../../src/streaming/websocket/connection.ts";
import { encodeFrame, readFrame } from "../../src/ttrpc/frame.ts";
import { packTar } from "../harness/images/tar.ts";
import { nativeLibraries } from "../harness/native-libraries.ts";
import { clientFrame } from "../harness/streams/transport.ts";

/*
 * How bytes arrive makes no difference: every reader of a stream is given the same bytes in one piece, byte by byte, cut
 * once at every place, and cut at random, and has to read the same.
 */

const ctx = { signal: new AbortController().signal, log: silentLog };

/** What was read of these pieces, as something that can be compared. */
type Read = (pieces: readonly Buffer[]) => unknown | Promise<unknown>;

/** Pieces of their own memory, as whoever reads a socket gets them. */
function cut(bytes: Uint8Array, places: readonly number[]): readonly Buffer[] {
  const edges = [0, ...new Set(places)].toSorted((a, b) => a - b);
  return edges
    .map((from, i) => Buffer.from(bytes.subarray(from, edges[i + 1] ?? bytes.byteLength)))
    .filter((piece) => piece.byteLength > 0);
}

/** At most so many cuts at every place: of longer bytes at every n-th, with another n of no common factor. */
const maxPlaces = 1500;

async function expectSame(bytes: Uint8Array, read: Read, { runs = 60, places = maxPlaces } = {}) {
  const expected = await read([Buffer.from(bytes)]);
  const every = Math.max(1, Math.ceil(bytes.byteLength / places));
  for (let at = 1; at < bytes.byteLength; at += every) {
    expect(await read(cut(bytes, [at]))).toEqual(expected);
  }
  const all = Array.from({ length: bytes.byteLength }, (_, i) => i);
  if (bytes.byteLength <= 20_000) expect(await read(cut(bytes, all))).toEqual(expected);
  const place = fc.nat(Math.max(0, bytes.byteLength - 1));
  await fc.assert(
    fc.asyncProperty(fc.array(place, { maxLength: 40 }), async (where) => {
      expect(await read(cut(bytes, where))).toEqual(expected);
    }),
    { numRuns: runs },
  );
  return expected;
}

async function* stream(pieces: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  // One buffer that is used again and again, as whoever reads a descriptor has it.
  const shared = Buffer.alloc(Math.max(1, ...pieces.map(({ byteLength }) => byteLength)));
  for (const piece of pieces) {
    shared.fill(0xee);
    piece.copy(shared);
    yield shared.subarray(0, piece.byteLength);
  }
}

function channel(pieces: readonly Buffer[]): ByteChannel {
  const left = [...pieces];
  return {
    gone: new AbortController().signal,
    read: async () => left.shift(),
    write: async () => {},
    end: async () => {},
  };
}

const archive = packTar([
  { type: "directory", path: "dir/" },
  { type: "file", path: `dir/${"long".repeat(40)}`, data: "x".repeat(700), mtime: 1.5 },
  { type: "file", path: "empty", data: "" },
  { type: "symlink", path: "link", target: "dir" },
  { type: "sparse-file", path: "sparse", size: 9000, parts: [{ offset: 4096, data: "data" }] },
  { type: "file", path: "block", data: "y".repeat(512), xattrs: { "user.a": Buffer.from("1") } },
]);

async function collect(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = new Digester();
  for await (const piece of source) hash.update(piece);
  return hash.digest();
}

describe("a stream is read the same however its bytes are cut", () => {
  const readTar: Read = (pieces) => {
    const found: unknown[] = [];
    let data = "";
    const reader = new TarReader({
      entry: (entry) => void found.push(Bun.inspect(entry)),
      data: (piece) => {
        data += Buffer.from(piece).toString("latin1");
      },
      end: () => {
        found.push(data);
        data = "";
      },
    });
    for (const piece of pieces) reader.write(piece);
    reader.finish();
    return found;
  };

  test("tar, with and without an end mark and bytes after it", async () => {
    for (const bytes of [
      archive,
      archive.subarray(0, archive.byteLength - 1024),
      Buffer.concat([archive, Buffer.from("after the end")]),
    ]) {
      expect(await expectSame(bytes, readTar)).toHaveLength(10);
    }
  });

  const native = openDecompressors(nativeLibraries());
  for (const [kind, decompressors] of [
    ["native", native],
    ["stream", { gzip: undefined, zstd: undefined }],
  ] as const) {
    test.skipIf(kind === "native" && native.gzip === undefined)(
      `gzip and zstd, ${kind}`,
      async () => {
        const halves = [archive.subarray(0, 1000), archive.subarray(1000)];
        const read: Read = (pieces) => collect(decompress(stream(pieces), decompressors));
        const plain = await read([Buffer.from(archive)]);
        for (const bytes of [
          gzipSync(archive),
          zstdCompressSync(archive),
          Buffer.concat(halves.map((half) => gzipSync(half))),
          Buffer.concat(halves.map((half) => zstdCompressSync(half))),
          Buffer.concat([Buffer.from("502a4d1803000000abcdef", "hex"), zstdCompressSync(archive)]),
        ]) {
          expect(await expectSame(bytes, read, { places: 300, runs: 30 })).toBe(plain);
        }
      },
    );
  }

  test("an archive of images that passes once", async () => {
    const images = packTar([
      { type: "file", path: "a.json", data: '{"rootfs":{}}' },
      { type: "file", path: "a/layer.tar", data: archive },
      { type: "file", path: "b/layer.tar", data: gzipSync(archive) },
      { type: "file", path: "c/layer.tar", data: Buffer.alloc(10_240) },
      { type: "symlink", path: "d/layer.tar", target: "../a/layer.tar" },
      { type: "file", path: "manifest.json", data: "[]" },
    ]);
    const layers = {
      unpack: async (_: unknown, source: AsyncIterable<Uint8Array>): Promise<UnpackedLayer> => ({
        diffId: (await collect(decompress(source))) as UnpackedLayer["diffId"],
        [Symbol.asyncDispose]: async () => {},
      }),
    };
    const read: Read = async (pieces) => {
      await using passed = await readStreamed(ctx, layers, stream(pieces));
      const documents = ["a.json", "manifest.json"].map((name) => passed.read(name, 100));
      const found = ["a", "b", "c", "d"].map((name) => {
        const layer = passed.findLayer(`${name}/layer.tar`);
        return [layer?.diffId, passed.sizeOf(`${name}/layer.tar`)];
      });
      return [found, (await Promise.all(documents)).map(String)];
    };
    const [found] = (await expectSame(images, read, { places: 400 })) as [unknown[][]];
    expect(found.every(([diffId]) => diffId !== undefined)).toBe(true);
    for (const bytes of [gzipSync(images), Buffer.concat([images, Buffer.from("\n")])]) {
      await expectSame(bytes, read, { places: 100, runs: 20 });
    }
  });

  test("heads of HTTP requests, and what follows them", async () => {
    const bytes = Buffer.from(
      "GET /exec/token HTTP/1.1\r\nHost: a\r\nUpgrade: SPDY/3.1\r\n\r\nrest\r\n\r\n",
    );
    const read: Read = async (pieces) => {
      const whole = channel(pieces);
      const { head, rest } = await readRequestHead(whole);
      let after = rest.toString();
      for (let more = await whole.read(); more; more = await whole.read()) after += more.toString();
      return [head.method, head.path, head.values("upgrade"), after];
    };
    await expectSame(bytes, read);
  });

  test("SPDY frames", async () => {
    const written: Buffer[] = [];
    const client = new SpdyConnection({
      ...channel([]),
      write: async (bytes) => void written.push(Buffer.from(bytes)),
    });
    for (const name of ["error", "data"]) {
      const opened = await client.open({ streamtype: name, port: "80" });
      await opened.write(Buffer.from(`first of ${name}`));
      await opened.write(Buffer.alloc(700, name));
      await opened.end();
    }
    const read: Read = async (pieces) => {
      const streams: Promise<readonly [string | undefined, string]>[] = [];
      const server = new SpdyConnection(channel(pieces), {
        maxStreams: 4,
        onTraffic: () => {},
        onStream: (opened) => {
          streams.push(
            (async () => {
              let data = "";
              for (let more = await opened.read(); more; more = await opened.read()) data += more;
              return [opened.headers.get("streamtype"), data] as const;
            })(),
          );
          return true;
        },
      });
      await server.run();
      return await Promise.all(streams);
    };
    expect(await expectSame(Buffer.concat(written), read, { places: 400 })).toHaveLength(2);
  });

  test("WebSocket frames", async () => {
    const bytes = Buffer.concat([
      clientFrame(0x02, Buffer.from("one ")),
      clientFrame(0x89, Buffer.from("ping")),
      clientFrame(0x80, Buffer.alloc(300, "x")),
      clientFrame(0x82, Buffer.alloc(0)),
      clientFrame(0x88, Buffer.from([3, 232])),
    ]);
    const read: Read = async (pieces) => {
      const websocket = new WebSocketConnection(channel(pieces));
      const messages: string[] = [];
      let message = "";
      for (let piece = await websocket.read(); piece; piece = await websocket.read()) {
        message = (piece.isStart ? "" : message) + piece.bytes.toString("latin1");
        if (piece.isEnd) messages.push(message);
      }
      return messages;
    };
    expect(await expectSame(bytes, read)).toHaveLength(2);
  });

  test("ttrpc frames", async () => {
    const frames = [Buffer.from("one"), Buffer.alloc(0), Buffer.alloc(600, "x")];
    const bytes = Buffer.concat(
      frames.map((data, i) => encodeFrame({ stream: 2 * i + 1, type: 1, flags: 0, data })),
    );
    const read: Read = async (pieces) => {
      const reader = new ByteReader(channel(pieces));
      const found: unknown[] = [];
      for (let frame = await readFrame(reader); frame; frame = await readFrame(reader)) {
        found.push([frame.stream, Buffer.from(frame.data).toString()]);
      }
      return found;
    };
    expect(await expectSame(bytes, read)).toHaveLength(3);
  });

  test("frames of attached clients, and sizes of terminals", async () => {
    const bytes = Buffer.concat(
      Object.values(frameKind).map((kind) => formatFrame(kind, Buffer.alloc(50 + kind, "x"))),
    );
    const readFrames: Read = (pieces) => {
      const parser = new FrameParser();
      return pieces.flatMap((piece) =>
        parser.push(piece).map(({ kind, payload }) => [kind, payload.toString()]),
      );
    };
    expect(await expectSame(bytes, readFrames)).toHaveLength(Object.keys(frameKind).length);
    const readSize: Read = (pieces) => {
      const parser = new TerminalSizeParser();
      return pieces.map((piece) => parser.push(piece)).findLast((size) => size !== undefined);
    };
    const sizes = Buffer.from('{"Width":80,"Height":24}\n{"Width":100,"Height":50}\n');
    expect(await expectSame(sizes, readSize)).toEqual({ columns: 100, rows: 50 });
  });

  test("responses of registries, chunked and not, and JSON in them", async () => {
    const body = JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN" }] });
    const chunks = [body.slice(0, 5), body.slice(5, 20), body.slice(20)]
      .map((text) => `${text.length.toString(16)}\r\n${text}\r\n`)
      .join("");
    let pieces: readonly Buffer[] = [];
    const server = createServer({ noDelay: true }, (socket) => {
      socket
        .on("error", () => {})
        .once("data", async () => {
          for (const piece of pieces) {
            await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
            // Each in a packet of its own, as far as a program can see to that.
            await new Promise<void>((resolve) => setImmediate(resolve));
          }
          socket.end();
        });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    using _server = { [Symbol.dispose]: () => void server.close() };
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const host = plainHost(new URL(`http://127.0.0.1:${address.port}/v2`));
    const read: Read = async (given) => {
      pieces = given;
      const options = { proxy: noProxy, timeoutMs: 60_000, credentials: async () => undefined };
      const client = new HostClient(host, { registry: "reg.test", repository: "app" }, options);
      try {
        const response = await client.get(ctx, "manifests/1", { headers: {}, signal: ctx.signal });
        return await response.text();
      } catch (err) {
        return String(err);
      }
    };
    for (const [status, encoding, payload] of [
      ["200 OK", "Transfer-Encoding: chunked", `${chunks}0\r\n\r\n`],
      ["404 Not Found", "Transfer-Encoding: chunked", `${chunks}0\r\nTrailer: x\r\n\r\n`],
      ["404 Not Found", `Content-Length: ${body.length}`, body],
    ] as const) {
      const bytes = Buffer.from(
        `HTTP/1.1 ${status}\r\nConnection: close\r\n${encoding}\r\n\r\n${payload}`,
      );
      const expected = await expectSame(bytes, read, { places: 250, runs: 20 });
      expect(expected).toContain(status.startsWith("200") ? body : "404 MANIFEST_UNKNOWN");
    }
  });
});
