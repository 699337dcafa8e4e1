import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { overlaps, parseCidr } from "../cidr.ts";
import { asBandwidth } from "../cni/bandwidth.ts";
import { chooseSubnet, embeddedConflist, openEmbeddedNetwork } from "./embedded.ts";
import { iptablesRules, nftRules } from "./netfilter.ts";
import { parseRoutes } from "./routes.ts";

const routes = `Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
vpn0\t0000580A\t00000000\t0001\t0\t0\t0\t0000FCFF\t0\t0\t0
`;

test("parseRoutes() reads /proc/net/route", () => {
  expect(parseRoutes(routes).map(({ destination }) => destination)).toEqual([
    { family: 4, address: "0.0.0.0", prefix: 0 },
    { family: 4, address: "192.0.2.0", prefix: 24 },
    { family: 4, address: "10.88.0.0", prefix: 14 },
  ]);
});

test("chooseSubnet() leaves out what the node has routes to, and takes what the bridge has", () => {
  expect(chooseSubnet([]).address).toBe("10.88.0.0");
  expect(chooseSubnet(parseRoutes(routes)).address).toBe("10.92.0.0");
  expect(chooseSubnet(parseRoutes(routes.replace("vpn0", "crib0")))).toMatchObject({ prefix: 14 });
  const all = { interface: "x", destination: parseCidr("0.0.0.0/1") };
  expect(chooseSubnet([all]).address).toBe("172.31.0.0");
});

test("overlaps() compares by the wider range", () => {
  const pairs = [
    ["10.88.0.0/16", "10.88.3.0/24", true],
    ["10.88.0.0/16", "10.0.0.0/8", true],
    ["10.88.0.0/16", "10.89.0.0/16", false],
    ["192.168.0.0/16", "192.169.0.0/16", false],
  ] as const;
  for (const [a, b, expected] of pairs) expect(overlaps(parseCidr(a), parseCidr(b))).toBe(expected);
});

describe("embeddedConflist()", () => {
  const subnets = [parseCidr("10.88.0.0/16")];
  const build = (tools: { iptables: boolean; nft: boolean }, wanted = {}) =>
    embeddedConflist({ subnets, dataDir: "/d", mtu: undefined, tools, wanted });
  const types = (conflist: ReturnType<typeof build>) => conflist.plugins.map(({ type }) => type);

  test("has only the plugins that a pod has use for", () => {
    const nft = { iptables: false, nft: true };
    expect(types(build(nft))).toEqual(["bridge"]);
    expect(types(build(nft, { portMappings: [{}] }))).toEqual(["bridge", "portmap"]);
    const both = { iptables: true, nft: true };
    expect(types(build(both, { bandwidth: {} }))).toEqual(["bridge", "bandwidth"]);
  });

  test("works with the netfilter tool that there is", () => {
    const backend = (iptables: boolean, nft: boolean) =>
      build({ iptables, nft }, { portMappings: [{}] }).plugins[1]?.config["backend"];
    expect([backend(true, false), backend(false, true), backend(true, true)]).toEqual([
      "iptables",
      "nftables",
      undefined,
    ]);
    const none = { iptables: false, nft: false };
    expect(types(build(none))).toEqual(["bridge"]);
    expect(() => build(none, { portMappings: [{}] })).toThrow("host ports need iptables or nft");
  });
});

describe("setPodCidr()", () => {
  const open = (path: string) =>
    openEmbeddedNetwork({ dir: path, addressDir: `${path}/addresses` });
  const dir = () => mkdtempSync(`${tmpdir()}/embedded-`);
  const subnetsOf = (path: string) => {
    const ipam = open(path).conflist({}).plugins[0]?.config["ipam"];
    return (ipam as { ranges: { subnet: string }[][] }).ranges.map(([range]) => range?.subnet);
  };

  test("is kept over a restart, and can be taken back", () => {
    const path = dir();
    try {
      const [own] = subnetsOf(path);
      open(path).setPodCidr("10.244.1.0/24,fd00:1::/64");
      expect(subnetsOf(path)).toEqual(["10.244.1.0/24", "fd00:1::/64"]);
      open(path).setPodCidr("");
      expect(subnetsOf(path)).toEqual([own]);
    } finally {
      rmSync(path, { recursive: true });
    }
  });

  test.each([["10.0.0.0"], ["10.0.0.0/31"], ["x/24"], ["10.0.0.0/16,10.1.0.0/16"], ["::/127"]])(
    "refuses %j",
    (podCidr) => {
      const path = dir();
      try {
        expect(() => open(path).setPodCidr(podCidr)).toThrow();
      } finally {
        rmSync(path, { recursive: true });
      }
    },
  );
});

test("rules of netfilter are for the whole range", () => {
  const subnets = ["10.88.0.0/16", "fd00::/64"].map(parseCidr);
  expect(subnets.map(iptablesRules).join("")).toContain("-A CRIB-MASQ -s fd00::/64 -j MASQUERADE");
  expect(nftRules(subnets)).toContain(
    "ip saddr 10.88.0.0/16 ip daddr != { 10.88.0.0/16, 224.0.0.0/4 } masquerade",
  );
});

test("asBandwidth() reads Kubernetes quantities", () => {
  const read = (text: string) =>
    asBandwidth({ "kubernetes.io/ingress-bandwidth": text })?.ingressRate;
  expect(["10M", "1Gi", "1.5k", "2000000m"].map(read)).toEqual([10_000_000, 2 ** 30, 1500, 2000]);
  expect(asBandwidth({})).toBeUndefined();
  for (const bad of ["", "-1", "1", "1e99", "10Mb", "0", "9999P"])
    expect(() => read(bad)).toThrow();
});
