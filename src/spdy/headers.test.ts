import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { constants, createDeflate } from "node:zlib";
import fc from "fast-check";
import { headerBlock, uint32 } from "../../test/harness/streams/spdy-client.ts";
import { headerDictionary } from "./dictionary.ts";
import { formatHeaderBlock, HeaderDecoder, parseHeaders } from "./headers.ts";

test("headerDictionary is the one of SPDY/3", () => {
  expect(headerDictionary.byteLength).toBe(1423);
  const digest = createHash("sha256").update(headerDictionary).digest("hex");
  expect(digest).toBe("51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02");
});

/** Compresses blocks as a client does: one stream for all of them. */
function compressor() {
  const deflate = createDeflate({ dictionary: headerDictionary });
  return (block: Buffer): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    deflate.removeAllListeners("data").on("data", (chunk: Buffer) => chunks.push(chunk));
    deflate.write(block);
    return new Promise((resolve) =>
      deflate.flush(constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(chunks))),
    );
  };
}

describe("HeaderDecoder", () => {
  test("reads one block after the other", async () => {
    using decoder = new HeaderDecoder();
    const compress = compressor();
    for (const streamType of ["error", "stdin", "error"]) {
      const headers = await decoder.decode(await compress(headerBlock({ streamType })));
      expect([...headers]).toEqual([["streamtype", streamType]]);
    }
  });

  test("refuses what is no zlib, and everything after it", async () => {
    using decoder = new HeaderDecoder();
    expect(await decoder.decode(Buffer.from("garbage")).catch(String)).toContain("header block");
    const block = await compressor()(headerBlock({}));
    expect(await decoder.decode(block).catch(String)).toContain("header block");
  });

  test("refuses a block that unpacks to more than 64 KiB", async () => {
    using decoder = new HeaderDecoder();
    const bomb = await compressor()(Buffer.alloc(4 << 20));
    expect(bomb.byteLength).toBeLessThan(16 * 1024);
    expect(await decoder.decode(bomb).catch(String)).toContain("65536 bytes");
  });
});

describe("parseHeaders()", () => {
  test("gives back what was written", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
    const value = fc.stringMatching(/^[ -~]{0,40}$/);
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 20 }), (headers) => {
        expect(Object.fromEntries(parseHeaders(headerBlock(headers)))).toEqual({ ...headers });
      }),
    );
  });

  test("refuses any count and length that its bytes do not hold", () => {
    const wrong = [
      Buffer.alloc(0),
      uint32(1),
      uint32(0xffffffff),
      uint32(1, 0xffffffff),
      uint32(1, 0, 0xffffffff),
      uint32(1, 1),
      uint32(0, 0),
      uint32(101, ...Array.from({ length: 202 }, () => 0)),
    ];
    for (const block of wrong) expect(() => parseHeaders(block)).toThrow(/header block/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          parseHeaders(Buffer.from(bytes));
        } catch (err) {
          expect(String(err)).toContain("header block");
        }
      }),
    );
  });
});

test("formatHeaderBlock() is what a reader unpacks to the same headers, one block after the other", async () => {
  using decoder = new HeaderDecoder();
  const blocks = [{ streamtype: "data", port: "80" }, {}, { requestid: "x".repeat(5000) }];
  for (const [i, headers] of blocks.entries()) {
    const read = await decoder.decode(formatHeaderBlock(headers, i === 0));
    expect(Object.fromEntries(read)).toEqual(headers);
  }
});
