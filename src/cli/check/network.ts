import { type Finding, findingsOf } from "./finding.ts";
import { presenceFinding } from "./kernel.ts";
import { type KernelConfig, readKernelConfig } from "./kernel-config.ts";
import type { Node } from "./node.ts";

const finding = findingsOf("network");

const kernelParts = [
  { name: "veth", option: "VETH", module: "veth", why: "pods are connected by veth pairs" },
  { name: "bridge", option: "BRIDGE", module: "bridge", why: "the bridge network needs it" },
] as const;

export interface NetworkPlaces {
  /** Directories of PATH. */
  readonly path: readonly string[];
  /** Of CNI configurations. */
  readonly confDirs: readonly string[];
  /** crib's own network serves while there is no configuration. */
  readonly hasDefault: boolean;
}

export function checkNetwork(node: Node, places: NetworkPlaces): readonly Finding[] {
  const config = readKernelConfig(node);
  return [
    ...kernelParts.map(({ name, option, module, why }) =>
      presenceFinding(name, config.has(option, module), { level: "missing", why, module }, finding),
    ),
    checkBridgeFilter(node, config),
    checkForwarding(node),
    checkTools(node, places),
    checkConfiguration(node, places),
  ];
}

function checkBridgeFilter(node: Node, config: KernelConfig): Finding {
  const name = "br_netfilter";
  const state = node.read("/proc/sys/net/bridge/bridge-nf-call-iptables")?.trim();
  if (state === "1") return finding(name, "ok", "bridged packets pass iptables");
  const why = "a pod may not reach a Service whose endpoint is on the same node";
  if (state !== undefined) {
    return finding(name, "warning", `sysctl net.bridge.bridge-nf-call-iptables is 0: ${why}`);
  }
  return config.has("BRIDGE_NETFILTER", name) === "module"
    ? finding(name, "warning", `not loaded (modprobe ${name}): ${why}`)
    : finding(name, "warning", `not in this kernel: ${why}`);
}

function checkForwarding(node: Node): Finding {
  return node.read("/proc/sys/net/ipv4/ip_forward")?.trim() === "1"
    ? finding("ip_forward", "ok", "on")
    : finding(
        "ip_forward",
        "warning",
        "sysctl net.ipv4.ip_forward is 0: pods reach this node only",
      );
}

function checkTools(node: Node, places: NetworkPlaces): Finding {
  const found = ["iptables", "nft"].filter((tool) =>
    places.path.some((dir) => node.list(dir).includes(tool)),
  );
  if (found.length > 0) return finding("iptables or nft", "ok", found.join(", "));
  const why = "the CNI plugins portmap and firewall, and masquerading, run one of them";
  return finding("iptables or nft", "missing", `neither is in PATH: ${why}`);
}

function checkConfiguration(node: Node, { confDirs, hasDefault }: NetworkPlaces): Finding {
  const name = "CNI configuration";
  for (const dir of confDirs) {
    const files = node.list(dir).filter((file) => /\.(conflist|conf|json)$/.test(file));
    const [first] = files.toSorted();
    if (first !== undefined) return finding(name, "ok", `${dir}/${first}`);
  }
  const none = `none in ${confDirs.join(", ")}`;
  if (hasDefault) return finding(name, "ok", `${none}: crib's own network serves`);
  const what = `${none}: the node stays NotReady until a network is installed there`;
  return finding(name, "warning", `${what}, or with network.default = "embedded"`);
}
