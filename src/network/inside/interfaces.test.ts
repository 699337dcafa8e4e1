import { expect, test } from "bun:test";
import { parseInterfaces } from "./interfaces.ts";

const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:12345678901234    20    3    4    0     0          0         0      500       6    7    8    0     0       0          0
net:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
`;

test("reads the counters of every interface", () => {
  const interfaces = parseInterfaces(text);
  expect(interfaces.map(({ name }) => name)).toEqual(["lo", "eth0", "net:1"]);
  expect(interfaces[1]).toEqual({
    name: "eth0",
    received: { bytes: 12345678901234, packets: 20, errors: 3, dropped: 4 },
    sent: { bytes: 500, packets: 6, errors: 7, dropped: 8 },
  });
  expect(interfaces[2]?.sent).toEqual({ bytes: 9, packets: 10, errors: 11, dropped: 12 });
  expect(parseInterfaces("")).toEqual([]);
});
