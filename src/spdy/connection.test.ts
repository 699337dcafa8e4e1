import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { ByteQueue } from "../lib/byte-queue.ts";
import type { ByteChannel } from "./byte-channel.ts";
import { SpdyConnection } from "./connection.ts";
import type { SpdyStream } from "./stream.ts";

/** Two ends of one connection, in memory. */
function channelPair(): readonly [ByteChannel, ByteChannel] {
  const [there, back] = [new ByteQueue(), new ByteQueue()];
  const end = (from: ByteQueue, to: ByteQueue): ByteChannel => ({
    gone: new AbortController().signal,
    read: () => from.read(),
    write: (bytes) => to.push(Buffer.from(bytes)),
    end: async () => to.end(),
  });
  return [end(there, back), end(back, there)];
}

function connect(onStream: (stream: SpdyStream) => boolean) {
  const [ours, theirs] = channelPair();
  const server = new SpdyConnection(theirs, { maxStreams: 2, onStream, onTraffic: () => {} });
  const client = new SpdyConnection(ours);
  const ends = Promise.allSettled([server.run(), client.run()]);
  return { server, client, ends };
}

async function all(stream: SpdyStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let chunk = await stream.read(); chunk; chunk = await stream.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("two sides carry a megabyte there and back, and each end of a stream by itself", async () => {
  const echo = async (stream: SpdyStream) => {
    for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
      await stream.write(bytes);
    }
    await stream.end();
  };
  const { client, server, ends } = connect((stream) => {
    expect(stream.headers.get("streamtype")).toBe("data");
    void echo(stream);
    return true;
  });
  const bytes = randomBytes(1 << 20);
  for (let i = 0; i < 3; i++) {
    const stream = await client.open({ streamtype: "data" });
    const [received] = await Promise.all([
      all(stream),
      stream.write(bytes).then(() => stream.end()),
    ]);
    expect(received.equals(bytes)).toBe(true);
  }
  client.ping();
  await client.end();
  await server.end();
  await ends;
});

test("a stream that the server refuses breaks, and the others go on", async () => {
  const { client, server, ends } = connect((stream) => stream.headers.get("streamtype") === "good");
  const bad = await client.open({ streamtype: "bad" });
  const good = await client.open({ streamtype: "good" });
  expect(await bad.read().catch(String)).toContain("reset");
  await good.write(Buffer.from("x"));
  expect(good.broken.aborted).toBe(false);
  await server.end();
  await client.end();
  await ends;
  expect(good.broken.aborted).toBe(true);
});

test("what came before the end of a connection can be read after it", async () => {
  const written = Promise.withResolvers<void>();
  const { client, server, ends } = connect((opened) => {
    void opened.write(Buffer.from("last words")).then(() => opened.end().then(written.resolve));
    return true;
  });
  const stream = await client.open({ streamtype: "data" });
  await written.promise;
  await server.end();
  await client.end();
  await ends;
  expect((await all(stream)).toString()).toBe("last words");
});
