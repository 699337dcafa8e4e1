import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { ImageService, RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { connectTransport } from "../harness/connect-transport.ts";
import { failure } from "../harness/cri-clients.ts";
import { sandboxConfig } from "../harness/cri-domain.ts";
import { eventually } from "../harness/eventually.ts";
import {
  callHeaders,
  DATA,
  dataFrame,
  END_STREAM,
  exchange,
  frame,
  framesOf,
  grpcMessage,
  HEADERS,
  headersFrame,
  opening,
  preface,
  RST_STREAM,
  settings,
} from "../harness/http2-frames.ts";

/*
 * Whatever a client sends, the process lives, says nothing of an uncaught exception, and serves the next client.
 * The server is a process of its own so that this is really seen.
 */

const version = "/runtime.v1.RuntimeService/Version";
const empty = grpcMessage(Buffer.alloc(0));
const dir = mkdtempSync(join(tmpdir(), "crib-wire-"));
const socket = join(dir, "run", "crib.sock");
const server = Bun.spawn(
  [process.execPath, join(import.meta.dir, "../harness/wire-server.ts"), socket],
  { stdout: "pipe", stderr: "pipe", env: { PATH: "/usr/bin:/bin" } },
);
let output = "";

async function follow(stream: ReadableStream<Uint8Array>): Promise<void> {
  for await (const chunk of stream) output += new TextDecoder().decode(chunk);
}

beforeAll(async () => {
  void follow(server.stdout);
  void follow(server.stderr);
  while (!output.includes("ready")) {
    expect(server.exitCode).toBeNull();
    await Bun.sleep(20);
  }
});

afterAll(async () => {
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
  // Nothing that was broken off counts as a call under way: it would be waited for, aborted, and said to be.
  await eventually(() => expect(output).toBe("ready\nstopping\n"));
  rmSync(dir, { recursive: true });
});

/** A whole call by hand. Answers the bytes that came back: within 100 ms, or however long it takes until `isEnough`. */
function call(
  change: Readonly<Record<string, string | undefined>>,
  body: Uint8Array = empty,
  isEnough?: (received: Buffer) => boolean,
) {
  const headers = callHeaders(change[":path"] ?? version, change);
  const bytes = Buffer.concat([opening, headersFrame(1, headers), dataFrame(1, body)]);
  return exchange(socket, bytes, isEnough ? { until: isEnough } : { waitMs: 100 });
}

const isAnswered = (received: Buffer) => received.includes("crib");

async function expectAlive(): Promise<void> {
  const { runtimeName } = await createClient(RuntimeService, connectTransport(socket)).version({});
  expect(runtimeName).toBe("crib");
  expect(server.exitCode).toBeNull();
  expect(output).toBe("ready\n");
}

describe("authorities that are no URL host", () => {
  const authorities = ["%2Frun%2Fcrib.sock", "localhost", "::::", "[::1", "x".repeat(100)];
  for (const authority of authorities) {
    test(`${authority} is answered`, async () => {
      const answer = await call({ ":authority": authority }, empty, isAnswered);
      expect(isAnswered(answer)).toBe(true);
      await expectAlive();
    });
  }

  for (const authority of [
    "/run/crib.sock",
    "a b",
    "",
    "@",
    "http://x",
    "\x00",
    "\xff",
    undefined,
  ]) {
    test(`${JSON.stringify(authority)} harms nobody`, async () => {
      await call({ ":authority": authority });
      await expectAlive();
    });
  }
});

describe("requests that are no good calls", () => {
  const headers: Readonly<Record<string, Record<string, string | undefined>>> = {
    "an unknown method": { ":path": "/runtime.v1.RuntimeService/Nothing" },
    "an unknown service": { ":path": "/x/y" },
    "a climbing path": { ":path": "/runtime.v1.RuntimeService/../x" },
    "a path that is no path": { ":path": "//[::" },
    "a query": { ":path": `${version}?%zz` },
    GET: { ":method": "GET" },
    "no content type": { "content-type": undefined },
    "another content type": { "content-type": "text/html" },
    "Connect's protocol": { "content-type": "application/proto" },
    "an unknown encoding": { "grpc-encoding": "gzip" },
    "a timeout of garbage": { "grpc-timeout": "-1" },
    "a timeout without end": { "grpc-timeout": "99999999H" },
    "a timeout of a nanosecond": { "grpc-timeout": "1n" },
    "no te": { te: undefined },
    "bytes in a header": { x: "\x01\xff\x80" },
    "an upper-case header": { "X-Y": "1" },
    "binary metadata that is none": { "x-bin": "###" },
    "an unknown pseudo-header": { ":x": "1" },
  };
  for (const [what, change] of Object.entries(headers)) {
    test(what, async () => {
      await call(change);
      await expectAlive();
    });
  }

  const bodies: Readonly<Record<string, Uint8Array>> = {
    "no message": Buffer.alloc(0),
    "half a prefix": Buffer.from([0, 0]),
    "two messages": Buffer.concat([empty, empty]),
    "a message cut off": grpcMessage(Buffer.from("abc"), { length: 100 }),
    "a message of 4 GiB": grpcMessage(Buffer.alloc(10), { length: 0xffff_ffff }),
    "a message just over 16 MiB": grpcMessage(Buffer.alloc(10), { length: (16 << 20) + 1 }),
    "compressed without an encoding": grpcMessage(Buffer.from("abc"), { flags: 1 }),
    "unknown flags": grpcMessage(Buffer.alloc(0), { flags: 0xff }),
    "no protobuf": grpcMessage(Buffer.from("ffffffffffffffffffffff", "hex")),
    "groups in groups": grpcMessage(Buffer.alloc(10_000, 0x0b)),
    "a field of 2 GiB": grpcMessage(Buffer.from("0affffffff07", "hex")),
    "a text that is no UTF-8": grpcMessage(Buffer.from("0a02fffe", "hex")),
  };
  for (const [what, body] of Object.entries(bodies)) {
    test(what, async () => {
      await call({}, body);
      await expectAlive();
    });
  }

  test("a length over the limit is refused before the message is there", async () => {
    const tooLong = grpcMessage(Buffer.alloc(1), { length: (16 << 20) + 1 });
    const isRefused = (received: Buffer) => received.length > 50;
    expect(isRefused(await call({}, tooLong, isRefused))).toBe(true);
  });
});

describe("connections that are no HTTP/2", () => {
  const connections: Readonly<Record<string, Uint8Array>> = {
    "HTTP/1.1": Buffer.from("POST / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a TLS hello": Buffer.from("16030102000100000000", "hex"),
    "half a preface": preface.subarray(0, 10),
    "a megabyte of zeros": Buffer.alloc(1 << 20),
    "a header block of garbage": Buffer.concat([opening, frame(1, 5, 1, Buffer.alloc(20, 0xff))]),
    "a window over 2^31": Buffer.concat([opening, frame(8, 0, 0, Buffer.from("7fffffff", "hex"))]),
    "data on an idle stream": Buffer.concat([opening, dataFrame(1, empty)]),
    "a frame longer than allowed": Buffer.concat([
      opening,
      Buffer.from("ffffff000000000001", "hex"),
    ]),
    "an even stream": Buffer.concat([opening, headersFrame(2, callHeaders(version), true)]),
    "settings of the wrong size": Buffer.concat([preface, frame(4, 0, 0, Buffer.alloc(7))]),
    "a reset of nothing": Buffer.concat([opening, frame(3, 0, 99, Buffer.alloc(4))]),
    "10,000 settings": Buffer.concat([opening, ...Array<Buffer>(10_000).fill(settings)]),
    "10,000 pings": Buffer.concat([
      opening,
      ...Array<Buffer>(10_000).fill(frame(6, 0, 0, Buffer.alloc(8))),
    ]),
    "continuations without end": Buffer.concat([
      opening,
      frame(1, 0, 1, Buffer.alloc(0)),
      ...Array<Buffer>(1000).fill(frame(9, 0, 1, Buffer.alloc(1000, 0x40))),
    ]),
    "5,000 streams opened and reset": Buffer.concat([
      opening,
      ...Array.from({ length: 5000 }, (_, i) => [
        headersFrame(2 * i + 1, callHeaders(version)),
        frame(3, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8])),
      ]).flat(),
    ]),
    "2,000 streams left open": Buffer.concat([
      opening,
      ...Array.from({ length: 2000 }, (_, i) => headersFrame(2 * i + 1, callHeaders(version))),
    ]),
  };
  for (const [what, bytes] of Object.entries(connections)) {
    test(what, async () => {
      await exchange(socket, bytes, { waitMs: 100 });
      await expectAlive();
    });
  }

  test("hundreds of connections that say nothing", async () => {
    await Promise.all(Array.from({ length: 300 }, () => exchange(socket, Buffer.alloc(0))));
    await expectAlive();
  });
});

describe("a real client", () => {
  const transport = connectTransport(socket);
  const runtime = createClient(RuntimeService, transport);
  const images = createClient(ImageService, transport);

  test("calls both services, many at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => runtime.listPodSandbox({ filter: {} })),
    );
    for (const { items } of answers) expect(items.length).toBe(200);
    expect((await images.listImages({})).images.length).toBe(1);
  });

  test("a request and an answer of megabytes arrive whole", async () => {
    const annotations = Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`k${i}`, "x".repeat(1 << 20)]),
    );
    const config = sandboxConfig({ annotations });
    const { podSandboxId } = await runtime.runPodSandbox({ config });
    const { status } = await runtime.podSandboxStatus({ podSandboxId });
    expect(status?.annotations).toEqual(annotations);
    await runtime.removePodSandbox({ podSandboxId });
  });

  test("ten responses of 12 MiB at once do not keep other calls of the connection out", async () => {
    const annotations = { k0: "x".repeat(1 << 20), k1: "y".repeat(1 << 20) };
    const labels = Object.fromEntries(
      Array.from({ length: 3000 }, (_, i) => [`l${i}`, "x".repeat(3000)]),
    );
    const config = sandboxConfig({ annotations, labels });
    const { podSandboxId } = await runtime.runPodSandbox({ config });
    const large = Array.from({ length: 10 }, () => runtime.podSandboxStatus({ podSandboxId }));
    const small = Array.from({ length: 10 }, () => runtime.version({}));
    await Promise.all([...large, ...small]);
    await runtime.removePodSandbox({ podSandboxId });
  });

  test("a request over 16 MiB is RESOURCE_EXHAUSTED", async () => {
    const annotations = { k: "x".repeat(17 << 20) };
    const status = await failure(runtime.runPodSandbox({ config: sandboxConfig({ annotations }) }));
    expect(status.code).toBe(Code.ResourceExhausted);
    await expectAlive();
  });

  test("what is not implemented says so", async () => {
    const status = await failure(runtime.restorePod({}));
    expect(status.code).toBe(Code.Unimplemented);
  });

  test("calls that the client gives up harm nobody", async () => {
    await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const signal = AbortSignal.timeout(i % 10);
        await runtime.listPodSandbox({}, { signal }).catch(() => {});
      }),
    );
    await expectAlive();
  });
});

test("an ordinary call is not reset after its answer", async () => {
  const bytes = Buffer.concat([
    opening,
    headersFrame(1, callHeaders(version)),
    dataFrame(1, empty),
  ]);
  const hasTrailers = (received: Buffer) =>
    framesOf(received).some(({ type, flags }) => type === HEADERS && (flags & END_STREAM) !== 0);
  const options = { until: hasTrailers, lingerMs: 100 };
  const types = framesOf(await exchange(socket, bytes, options)).map(({ type }) => type);
  expect(types).toContain(DATA);
  expect(types).not.toContain(RST_STREAM);
});
