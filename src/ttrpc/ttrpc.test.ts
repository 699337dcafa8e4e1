import { expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { channelPair } from "../../test/harness/channel-pair.ts";
import { Plugin, Runtime } from "../gen/nri/v1alpha1/api_pb.ts";
import { RequestSchema } from "../gen/ttrpc/ttrpc_pb.ts";
import { ByteReader } from "../lib/byte-reader.ts";
import type { Context } from "../lib/context.ts";
import { describe, failedPrecondition, kindOf } from "../lib/errors.ts";
import { silentLog } from "../lib/log.ts";
import { TtrpcClient } from "./client.ts";
import { encodeFrame, FrameType, maxFrameBytes, readFrame } from "./frame.ts";
import { openMux } from "./mux.ts";
import { serveTtrpc, type TtrpcService } from "./server.ts";
import { RemoteError } from "./status.ts";

const ctx: Context = { signal: new AbortController().signal, log: silentLog };
const soon = { timeoutMs: 5000 };

function connect(methods: TtrpcService<typeof Plugin>, options?: { maxCalls: number }) {
  const [near, far] = channelPair();
  const served = serveTtrpc(ctx, far, Plugin, methods, options);
  return { client: new TtrpcClient(near), near, far, served };
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (err) => err,
  );

test("a call gets its own response, in whatever order they come", async () => {
  const first = Promise.withResolvers<void>();
  const { client } = connect({
    async configure(_ctx, { config }) {
      if (config === "1") await first.promise;
      else first.resolve();
      return { events: Number(config) };
    },
  });
  using _client = client;
  const calls = ["1", "2"].map((config) =>
    client.call(ctx, Plugin.method.configure, { config }, soon),
  );
  expect((await Promise.all(calls)).map(({ events }) => events)).toEqual([1, 2]);
});

test("an error of a method, and a method that is missing, are the peer's word", async () => {
  const { client } = connect({
    async stopPodSandbox() {
      throw failedPrecondition("not now");
    },
  });
  using _client = client;
  const refused = await failureOf(client.call(ctx, Plugin.method.stopPodSandbox, {}, soon));
  expect(refused).toBeInstanceOf(RemoteError);
  expect([kindOf(refused), describe(refused)]).toEqual(["failed-precondition", "not now"]);
  const missing = await failureOf(client.call(ctx, Plugin.method.shutdown, {}, soon));
  expect(kindOf(missing)).toBe("unimplemented");
  const other = await failureOf(client.call(ctx, Runtime.method.registerPlugin, {}, soon));
  expect(describe(other)).toContain("nri.pkg.api.v1alpha1.Runtime/RegisterPlugin");
});

test("a call ends with its time, and the peer gets to know how long it has", async () => {
  const cancelled = Promise.withResolvers<void>();
  const { client } = connect({
    async runPodSandbox({ signal }) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      cancelled.resolve();
      return {};
    },
  });
  using _client = client;
  const late = await failureOf(
    client.call(ctx, Plugin.method.runPodSandbox, {}, { timeoutMs: 20 }),
  );
  expect(late).not.toBeInstanceOf(RemoteError);
  expect(kindOf(late)).toBe("deadline-exceeded");
  await cancelled.promise;
});

test("a call carries the client's metadata, and no time limit where it has none", async () => {
  const [near, far] = channelPair();
  using client = new TtrpcClient(near, { metadata: { "containerd-namespace-ttrpc": "a" } });
  const call = client.call(ctx, Plugin.method.shutdown, {}, { timeoutMs: undefined });
  const frame = await readFrame(new ByteReader(far));
  const { metadata, timeoutNano } = fromBinary(RequestSchema, frame?.data ?? Buffer.alloc(0));
  expect(metadata.map(({ key, value }) => [key, value])).toEqual([
    ["containerd-namespace-ttrpc", "a"],
  ]);
  expect(timeoutNano).toBe(0n);
  await far.write(
    encodeFrame({ stream: 1, type: FrameType.response, flags: 0, data: Buffer.alloc(0) }),
  );
  await call;
});

test("the end of the connection ends what waits, on both sides", async () => {
  const started = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  const { client, far, served } = connect({
    async runPodSandbox({ signal }) {
      signal.addEventListener("abort", () => cancelled.resolve());
      started.resolve();
      return await new Promise(() => {});
    },
  });
  const call = failureOf(client.call(ctx, Plugin.method.runPodSandbox, {}, soon));
  await started.promise;
  far[Symbol.dispose]();
  expect(kindOf(await call)).toBe("unavailable");
  await cancelled.promise;
  await served;
  expect(kindOf(await failureOf(client.call(ctx, Plugin.method.shutdown, {}, soon)))).toBe(
    "unavailable",
  );
});

test("calls over the limit are refused", async () => {
  const { client } = connect({ runPodSandbox: () => new Promise(() => {}) }, { maxCalls: 2 });
  using _client = client;
  const call = () => failureOf(client.call(ctx, Plugin.method.runPodSandbox, {}, soon));
  void call();
  void call();
  expect(kindOf(await call())).toBe("resource-exhausted");
});

test.each<[string, Uint8Array]>([
  ["a length over the limit", new Uint8Array([0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0])],
  ["an even stream", encodeFrame({ stream: 2, type: 1, flags: 0, data: new Uint8Array() })],
  ["a response", encodeFrame({ stream: 1, type: 2, flags: 0, data: new Uint8Array() })],
  ["half a header and the end", new Uint8Array([0, 0, 0])],
])("a server closes the connection at %s", async (_, bytes) => {
  const [near, far] = channelPair();
  const served = failureOf(serveTtrpc(ctx, far, Plugin, {}));
  await near.write(bytes);
  if (bytes.byteLength < 10) near[Symbol.dispose]();
  expect(await served).toBeInstanceOf(Error);
  expect(near.gone.aborted).toBe(true);
});

test("a client closes the connection at nonsense, and a message over the limit is not sent", async () => {
  const [near, far] = channelPair();
  const client = new TtrpcClient(near);
  const long = { config: "x".repeat(maxFrameBytes) };
  const refused = await failureOf(client.call(ctx, Plugin.method.configure, long, soon));
  expect(kindOf(refused)).toBe("resource-exhausted");
  const call = failureOf(client.call(ctx, Plugin.method.shutdown, {}, soon));
  await far.write(
    encodeFrame({ stream: 1, type: FrameType.data, flags: 0, data: new Uint8Array() }),
  );
  expect(describe(await call)).toContain("nonsense");
  expect(far.gone.aborted).toBe(true);
});

test("channels of a mux carry every message whole and in order, however the bytes are cut", async () => {
  const message = fc.record({
    channel: fc.constantFrom(0, 1),
    data: fc.uint8Array({ maxLength: 10_000 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { maxLength: 20 }),
      fc.integer({ min: 1 }),
      async (messages, size) => {
        const [a, b] = channelPair((bytes) =>
          Array.from({ length: Math.ceil(bytes.byteLength / size) }, (_, i) =>
            bytes.subarray(i * size, (i + 1) * size),
          ),
        );
        using _a = a;
        const near = openMux(a, [1, 2]);
        const readers = openMux(b, [1, 2]).map((channel) => new ByteReader(channel));
        for (const [i, { channel, data }] of messages.entries()) {
          await near[channel as 0 | 1].write(
            encodeFrame({ stream: i, type: FrameType.request, flags: 0, data }),
          );
        }
        for (const [i, { channel, data }] of messages.entries()) {
          const frame = await readFrame(readers[channel] as ByteReader);
          expect([frame?.stream, frame?.data]).toEqual([i, data]);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("a mux ends at a payload over the limit, and drops what is for nobody", async () => {
  const [near, far] = channelPair();
  const [channel] = openMux(far, [1]);
  await near.write(new Uint8Array([0, 0, 0, 9, 0, 0, 0, 1, 7]));
  await near.write(new Uint8Array([0, 0, 0, 1, 0, 0, 0, 1, 7]));
  expect(await channel.read()).toEqual(new Uint8Array([7]));
  await near.write(new Uint8Array([0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]));
  expect(kindOf(await failureOf(channel.read()))).toBe("unavailable");
  expect(near.gone.aborted).toBe(true);
});
