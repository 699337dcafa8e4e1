import { describe, expect, test } from "bun:test";
import { readRequestHead } from "./http-head.ts";

function channelOf(...chunks: readonly string[]) {
  const left = chunks.map((chunk) => Buffer.from(chunk, "latin1"));
  return { read: async () => left.shift() };
}

const request = "POST /exec/abc?x=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n";

describe("readRequestHead()", () => {
  test("reads a request however it is cut, and keeps what came with it", async () => {
    const whole = `${request}\r\nrest`;
    for (let at = 1; at < whole.length; at++) {
      const { head, rest } = await readRequestHead(channelOf(whole.slice(0, at), whole.slice(at)));
      expect(head.method).toBe("POST");
      expect(head.path).toBe("/exec/abc");
      expect(head.values("connection")).toEqual(["keep-alive", "Upgrade"]);
      expect(head.values("absent")).toEqual([]);
      expect("rest".startsWith(rest.toString())).toBe(true);
    }
  });

  test("takes headers of several lines together, names in any case", async () => {
    const lines = "x-stream-protocol-version: a\r\nX-STREAM-protocol-version:\tb , c \r\n\r\n";
    const { head } = await readRequestHead(channelOf(request, lines));
    expect(head.values("x-stream-protocol-version")).toEqual(["a", "b", "c"]);
  });

  test.each([
    ["HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"],
    ["a whole URL", "GET http://x/ HTTP/1.1\r\n\r\n"],
    ["a control character in the path", "GET /a\x01 HTTP/1.1\r\n\r\n"],
    ["a folded header", `${request} folded\r\n\r\n`],
    ["a header without a name", `${request}: x\r\n\r\n`],
    ["a space before the colon", `${request}Name : x\r\n\r\n`],
    ["a NUL", `${request}Name: \0\r\n\r\n`],
    ["a bare line feed", `${request}Name: a\nb\r\n\r\n`],
    ["101 headers", `${request}${"A: b\r\n".repeat(99)}\r\n`],
    ["nothing", ""],
    ["half of it", request],
    ["a head over 16 KiB", `${request}A: ${"b".repeat(17_000)}`],
    ["a whole head over 16 KiB", `${request}A: ${"b".repeat(17_000)}\r\n\r\n`],
  ])("refuses %s", async (_what, text) => {
    expect(readRequestHead(channelOf(text))).rejects.toThrow();
  });
});
