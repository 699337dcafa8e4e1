import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatIpAddress, ipBytes, readIpAddress } from "./ip-address.ts";

describe("readIpAddress()", () => {
  test.each([
    ["10.0.0.1", "10.0.0.1"],
    ["::", "::"],
    ["::1", "::1"],
    ["fd00:0:0:1:0:0:0:7", "fd00:0:0:1::7"],
    ["FD00::0001", "fd00::1"],
    ["1:0:0:2:0:0:3:4", "1::2:0:0:3:4"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["1::", "1::"],
  ])("and formatIpAddress() make %s be %s", (text, normal) => {
    const address = readIpAddress(text);
    expect(address && formatIpAddress(address)).toBe(normal);
  });

  test.each(["", "1.2.3", "1.2.3.4/8", "fe80::1%eth0", "::ffff:1.2.3.4", "::ffff:102:304", "x"])(
    "takes %j for none",
    (text) => expect(readIpAddress(text)).toBeUndefined(),
  );

  test("reads whatever formatIpAddress() writes", () => {
    const value = fc.oneof(
      fc.tuple(fc.constant(4 as const), fc.bigInt(0n, 2n ** 32n - 1n)),
      fc.tuple(fc.constant(6 as const), fc.bigInt(0n, 2n ** 128n - 1n)),
      // Many zeros.
      fc.tuple(
        fc.constant(6 as const),
        fc
          .array(fc.constantFrom(0n, 0n, 1n, 0xabn), { minLength: 8, maxLength: 8 })
          .map((groups) => groups.reduce<bigint>((sum, group) => (sum << 16n) | group, 0n)),
      ),
    );
    fc.assert(
      fc.property(value, ([family, number]) => {
        fc.pre(family === 4 || number >> 32n !== 0xffffn);
        const text = formatIpAddress({ family, value: number });
        expect(readIpAddress(text)).toEqual({ family, value: number });
        if (family === 6) expect(new URL(`http://[${text}]`).hostname).toBe(`[${text}]`);
      }),
    );
  });
});

test("ipBytes() are in the network's order", () => {
  expect([...ipBytes({ family: 4, value: 0x0a_00_01_02n })]).toEqual([10, 0, 1, 2]);
  expect(ipBytes({ family: 6, value: 1n }).at(-1)).toBe(1);
});
