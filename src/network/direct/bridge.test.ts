import { describe, expect, test } from "bun:test";
import { planBridge } from "./bridge.ts";

const ipam = { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16" }]] };
const plan = (config: object) =>
  planBridge(
    { type: "bridge", capabilities: [], config: { type: "bridge", ipam, ...config } },
    "net",
    "1.0.0",
  );

describe("planBridge()", () => {
  test("knows what is usual", () => {
    expect(plan({ bridge: "cni0", isDefaultGateway: true, ipMasq: true, mtu: 1450 })).toMatchObject(
      {
        bridge: "cni0",
        isGateway: true,
        ipMasq: true,
        mtu: 1450,
        hostLocal: {
          dir: "/var/lib/cni/networks/net",
          sets: [
            [
              {
                family: 4,
                prefix: 16,
                first: 0x0a01_0001n,
                last: 0x0a01_fffen,
                gateway: 0x0a01_0001n,
              },
            ],
          ],
        },
      },
    );
  });

  test.each<[string, object]>([
    ["a key that it does not know", { newThing: true }],
    ["a key in other letters, which Go takes", { IsGateway: true }],
    ["a VLAN", { vlan: 5 }],
    ["promiscuous mode", { promiscMode: true }],
    ["duplicate address detection", { enabledad: true }],
    ["nftables", { ipMasqBackend: "nftables" }],
    ["a MAC address from args", { args: { cni: { mac: "02:00:00:00:00:01" } } }],
    ["a DNS configuration", { dns: { nameservers: ["1.1.1.1"] } }],
    ["a bridge's name that is a path", { bridge: "../x" }],
    ["a bridge's name that is too long", { bridge: "a234567890123456" }],
    ["an MTU that is none", { mtu: -1 }],
    ["a flag as text", { ipMasq: "true" }],
    ["other addresses than host-local's", { ipam: { type: "dhcp" } }],
    ["no addresses", { ipam: {} }],
    ["a resolv.conf", { ipam: { ...ipam, resolvConf: "/etc/resolv.conf" } }],
    ["a route with a metric", { ipam: { ...ipam, routes: [{ dst: "0.0.0.0/0", priority: 5 }] } }],
    ["a route that is none", { ipam: { ...ipam, routes: [{ dst: "default" }] } }],
    ["a range with host bits", { ipam: { type: "host-local", subnet: "10.1.0.1/16" } }],
    ["a range without room", { ipam: { type: "host-local", subnet: "10.1.0.0/31" } }],
    [
      "a gateway outside",
      { ipam: { type: "host-local", subnet: "10.1.0.0/16", gateway: "10.2.0.1" } },
    ],
    ["an empty set", { ipam: { type: "host-local", ranges: [[]] } }],
    [
      "ranges that overlap",
      {
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "10.1.2.0/24" }]],
        },
      },
    ],
    [
      "two families in a set",
      {
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: "10.1.0.0/16" }, { subnet: "fd00::/64" }]],
        },
      },
    ],
  ])("leaves to the plugin %s", (_, config) => {
    expect(plan(config)).toBeUndefined();
  });
});
