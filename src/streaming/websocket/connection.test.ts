import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { clientFrame } from "../../../test/harness/streams/transport.ts";
import type { ByteChannel } from "../../spdy/byte-channel.ts";
import { WebSocketConnection } from "./connection.ts";

/** A channel that brings these bytes, and keeps what is written. */
function channelOf(...chunks: readonly Uint8Array[]) {
  const left = chunks.map((chunk) => Buffer.from(chunk));
  const written: Uint8Array[] = [];
  const channel: ByteChannel = {
    gone: new AbortController().signal,
    read: async () => left.shift(),
    write: async (bytes) => void written.push(bytes),
    end: async () => {},
  };
  return { channel, written };
}

async function messagesOf(...chunks: readonly Uint8Array[]): Promise<readonly string[]> {
  const websocket = new WebSocketConnection(channelOf(...chunks).channel);
  const messages: string[] = [];
  let message = "";
  for (let piece = await websocket.read(); piece; piece = await websocket.read()) {
    message = (piece.isStart ? "" : message) + piece.bytes.toString("latin1");
    if (piece.isEnd) messages.push(message);
  }
  return messages;
}

describe("WebSocketConnection.read()", () => {
  test("puts any messages together, whatever their frames and however they are cut", async () => {
    const message = fc.array(fc.string({ maxLength: 300 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 5 }), fc.nat(), async (messages, cut) => {
        const frames = messages.flatMap((parts) =>
          parts.map((part, i) => {
            const final = i === parts.length - 1 ? 0x80 : 0;
            return clientFrame(final | (i === 0 ? 2 : 0), Buffer.from(part, "latin1"));
          }),
        );
        const bytes = Buffer.concat(frames);
        const at = bytes.byteLength === 0 ? 0 : cut % bytes.byteLength;
        const expected = messages.map((parts) =>
          Buffer.from(parts.join(""), "latin1").toString("latin1"),
        );
        expect(await messagesOf(bytes.subarray(0, at), bytes.subarray(at))).toEqual(expected);
      }),
    );
  });

  test("responds to a ping in the middle of a message, and to a close", async () => {
    const { channel, written } = channelOf(
      clientFrame(0x02, Buffer.from("a")),
      clientFrame(0x89, Buffer.from("are you there")),
      clientFrame(0x80, Buffer.from("b")),
      clientFrame(0x88, Buffer.alloc(0)),
    );
    const websocket = new WebSocketConnection(channel);
    expect((await websocket.read())?.bytes.toString()).toBe("a");
    expect(await websocket.read()).toMatchObject({ isStart: false, isEnd: true });
    expect(await websocket.read()).toBeUndefined();
    expect(written.map((bytes) => Buffer.from(bytes).toString("latin1"))).toEqual([
      "\x8a\x0dare you there",
      "\x88\x02\x03\xe8",
    ]);
  });

  const length = (...bytes: readonly number[]) => Buffer.from(bytes);
  test.each([
    ["no mask", length(0x82, 0x01, 0x61)],
    ["reserved bits", clientFrame(0xc2, Buffer.from("a"))],
    ["text", clientFrame(0x81, Buffer.from("a"))],
    ["an unknown type", clientFrame(0x83, Buffer.from("a"))],
    ["a control frame in parts", clientFrame(0x09, Buffer.from("a"))],
    ["a control frame over 125 bytes", clientFrame(0x89, Buffer.alloc(126))],
    ["a continuation of nothing", clientFrame(0x80, Buffer.from("a"))],
    ["2^63-1 bytes", length(0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4)],
    ["2^64-1 bytes", length(0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4)],
    [
      "a message inside of another",
      Buffer.concat([clientFrame(0x02, Buffer.from("a")), clientFrame(0x82, Buffer.from("b"))]),
    ],
  ])("refuses %s with a protocol error", async (_what, bytes) => {
    const { channel, written } = channelOf(...[...bytes].map((byte) => Buffer.from([byte])));
    const websocket = new WebSocketConnection(channel);
    const read = async () => {
      for (let piece = await websocket.read(); piece; piece = await websocket.read());
    };
    expect(read()).rejects.toThrow(/WebSocket/);
    expect(Buffer.from(written.at(-1) ?? []).toString("hex")).toBe("880203ea");
  });

  test("takes a million empty fragments and pings without keeping anything", async () => {
    const some = Buffer.concat([
      clientFrame(0x00, Buffer.alloc(0)),
      clientFrame(0x8a, Buffer.alloc(0)),
    ]);
    const many = Buffer.concat(Array.from({ length: 10_000 }, () => some));
    const chunks = [clientFrame(0x02, Buffer.from("a")), many, clientFrame(0x80, Buffer.from("b"))];
    expect(await messagesOf(...chunks)).toEqual(["ab"]);
  });
});

test("WebSocketConnection.send() writes lengths of each size", async () => {
  for (const [size, head] of [
    [10, "820a"],
    [125, "827d"],
    [126, "827e007e"],
    [65_535, "827effff"],
    [65_536, "827f0000000000010000"],
  ] as const) {
    const { channel, written } = channelOf();
    await new WebSocketConnection(channel).send(Buffer.from([7]), Buffer.alloc(size - 1));
    const frame = Buffer.from(written[0] ?? []);
    expect(frame.toString("hex", 0, head.length / 2)).toBe(head);
    expect(frame.byteLength).toBe(head.length / 2 + size);
  }
});
