import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../lib/errors.ts";
import { readResult } from "./cni-result.ts";
import { formatConflist, readConflist } from "./conflist.ts";

const read = (value: unknown) => readResult(value, "result", "eth0").ips;

describe("readResult()", () => {
  test("takes the addresses of the pod's interface, in the plugin's order", () => {
    const interfaces = [
      { name: "br0" },
      { name: "eth0", sandbox: "/ns" },
      { name: "net1", sandbox: "/ns" },
    ];
    const ips = [
      { address: "fd00::2/64", interface: 1 },
      { address: "10.0.0.1/24", interface: 0 },
      { address: "10.0.0.2/24", interface: 1, gateway: "10.0.0.1" },
      { address: "10.9.0.2/24", interface: 2 },
      { version: "4", address: "10.8.0.2/32" },
    ];
    expect(read({ cniVersion: "0.4.0", interfaces, ips })).toEqual([
      "fd00::2",
      "10.0.0.2",
      "10.8.0.2",
    ]);
  });

  test("takes one address of each family from a result of before 0.3.0", () => {
    const old = { ip4: { ip: "10.0.0.2/24", gateway: "10.0.0.1" }, ip6: { ip: "fd00::2/64" } };
    for (const cniVersion of ["0.1.0", "0.2.0", "", undefined]) {
      expect(read({ cniVersion, ...old, dns: {} })).toEqual(["10.0.0.2", "fd00::2"]);
    }
    expect(() => read({ ip4: { ip: "10.0.0.2" } })).toThrow("ip4.ip");
    expect(() => read({})).toThrow("cniVersion");
  });

  test.each([
    ["10.0.0.2"],
    ["10.0.0.2/33"],
    ["10.0.0.2/-1"],
    ["10.0.0.2/24/1"],
    ["10.0.0.02/24"],
    ["::1/129"],
    ["fe80::1%eth0/64"],
    [""],
  ])("refuses the address %j", (address) => {
    expect(() => read({ cniVersion: "1.0.0", ips: [{ address }] })).toThrow("ips[0].address");
  });
});

test("whatever JSON a plugin or a file holds, it is read or refused with a kind", () => {
  const refusedWithKind = (parse: () => unknown) => {
    try {
      parse();
    } catch (err) {
      expect(err).toBeInstanceOf(AppError);
    }
  };
  const ip = fc.record({
    address: fc.anything(),
    interface: fc.anything(),
    gateway: fc.anything(),
  });
  const result = fc.record({
    cniVersion: fc.constantFrom("1.0.0", "0.3.1", "x"),
    interfaces: fc.anything(),
    ips: fc.oneof(fc.array(ip), fc.anything()),
  });
  const plugin = fc.record({
    type: fc.oneof(fc.string(), fc.constant("bridge")),
    ipam: fc.anything(),
    capabilities: fc.anything(),
  });
  const conflist = fc.record({
    name: fc.constantFrom("net", "../x", ""),
    cniVersion: fc.constantFrom("1.0.0", undefined, 1),
    cniVersions: fc.anything(),
    plugins: fc.oneof(fc.array(plugin), fc.anything()),
    disableCheck: fc.anything(),
  });
  fc.assert(fc.property(result, (value) => refusedWithKind(() => read(value))));
  fc.assert(
    fc.property(conflist, (value) =>
      refusedWithKind(() => {
        const parsed = readConflist(value, "conflist");
        expect(readConflist(formatConflist(parsed), "again")).toEqual(parsed);
      }),
    ),
  );
});
