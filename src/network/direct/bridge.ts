import { type Context, detached } from "../../lib/context.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { OwnProgram } from "../../os/process/command.ts";
import { podInterface } from "../cni/attachment.ts";
import type { CniRecord } from "../cni/cni-records.ts";
import type { CniVersion, PluginConfig } from "../cni/conflist.ts";
import {
  type GivenAddress,
  giveAddressesBack,
  type HostLocal,
  ownerOf,
  planHostLocal,
  takeAddresses,
} from "./host-local.ts";
import { formatIpAddress, type IpAddress, ipBytes, readIpAddress } from "./ip-address.ts";
import { host, hostNamespaceFd, LinkSteps, pod, runLinkSteps } from "./links.ts";
import { endMasquerade, endUnfinishedMasquerade, masquerade, workingFor } from "./masquerade.ts";
import {
  AF_INET,
  AF_INET6,
  deleteLink,
  getLink,
  hairpin,
  linkUp,
  newAddress,
  newBridge,
  newRoute,
  newVeth,
  setMac,
  setMaster,
} from "./netlink.ts";

/** A configuration of the plugin bridge, with addresses of host-local, that is known in every detail. */
export interface BridgePlan {
  readonly bridge: string;
  readonly network: string;
  readonly cniVersion: CniVersion;
  readonly mtu: number;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly ipMasq: boolean;
  readonly hairpin: boolean;
  readonly hostLocal: HostLocal;
  readonly routes: readonly Route[];
}

interface Route {
  readonly destination: IpAddress & { readonly prefix: number };
  readonly gateway: IpAddress | undefined;
}

const keys = new Set([
  ...[
    "type",
    "name",
    "cniVersion",
    "capabilities",
    "ipam",
    "bridge",
    "isGateway",
    "isDefaultGateway",
  ],
  ...[
    "forceAddress",
    "ipMasq",
    "ipMasqBackend",
    "mtu",
    "hairpinMode",
    "promiscMode",
    "vlan",
    "enabledad",
  ],
]);
const interfaceName = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}$/;

/** Pure. `undefined` where anything is unknown: then the plugin does it, and says what it thinks of it. */
export function planBridge(
  { config }: PluginConfig,
  network: string,
  cniVersion: CniVersion,
): BridgePlan | undefined {
  if (Object.keys(config).some((key) => !keys.has(key))) return undefined;
  const flags = ["isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "hairpinMode"];
  if (flags.some((flag) => config[flag] !== undefined && typeof config[flag] !== "boolean")) {
    return undefined;
  }
  const isOff = (key: string, off: unknown) => config[key] === undefined || config[key] === off;
  if (!isOff("promiscMode", false) || !isOff("enabledad", false) || !isOff("vlan", 0)) {
    return undefined;
  }
  // Without a wish the plugin takes iptables, where it works.
  if (!isOff("ipMasqBackend", "iptables")) return undefined;
  const { bridge = "cni0", mtu = 0, ipam } = config;
  if (typeof bridge !== "string" || !interfaceName.test(bridge)) return undefined;
  const isMtu = typeof mtu === "number" && Number.isInteger(mtu) && (mtu === 0 || mtu >= 1280);
  if (!isMtu || mtu > 65_535 || typeof ipam !== "object" || ipam === null) return undefined;
  const addresses = ipam as JsonObject;
  const hostLocal =
    addresses["type"] === "host-local" ? planHostLocal(addresses, network) : undefined;
  const routes = readRoutes(addresses["routes"] ?? []);
  if (hostLocal === undefined || routes === undefined) return undefined;
  const isDefaultGateway = config["isDefaultGateway"] === true;
  return {
    bridge,
    network,
    cniVersion,
    mtu,
    isGateway: config["isGateway"] === true || isDefaultGateway,
    isDefaultGateway,
    ipMasq: config["ipMasq"] === true,
    hairpin: config["hairpinMode"] === true,
    hostLocal,
    routes,
  };
}

function readRoutes(value: unknown): readonly Route[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const routes = value.map(readRoute);
  const known = routes.filter((route) => route !== undefined);
  return known.length === routes.length ? known : undefined;
}

function readRoute(value: unknown): Route | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { dst, gw, ...others } = value as JsonObject;
  if (typeof dst !== "string" || Object.keys(others).length > 0) return undefined;
  const [, base = "", digits = ""] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(dst) ?? [];
  const address = readIpAddress(base);
  const prefix = Number(digits);
  if (address === undefined || prefix > (address.family === 4 ? 32 : 128)) return undefined;
  if (gw === undefined) return { destination: { ...address, prefix }, gateway: undefined };
  const gateway = typeof gw === "string" ? readIpAddress(gw) : undefined;
  return gateway?.family === address.family
    ? { destination: { ...address, prefix }, gateway }
    : undefined;
}

/** ADD. All that it makes, `deleteBridged` takes down, and so does the plugin. */
export async function addBridged(
  ctx: Context,
  program: OwnProgram,
  plan: BridgePlan,
  record: Pick<CniRecord, "sandboxId" | "netnsPath">,
): Promise<JsonObject> {
  const { sandboxId, netnsPath } = record;
  const owner = ownerOf(sandboxId, podInterface);
  const addresses = await takeAddresses(ctx, plan.hostLocal, owner);
  const routes = allRoutes(plan, addresses);
  const veth = `veth${crypto.getRandomValues(Buffer.alloc(4)).toString("hex")}`;
  const steps = stepsOf(plan, { veth, netnsPath, addresses, routes });
  const masking = plan.ipMasq
    ? masquerade(ctx, program.run, { network: plan.network, sandboxId, addresses })
    : undefined;
  // Neither waits for the other, and neither goes on when this returns.
  const [linked, masked] = await Promise.allSettled([
    runLinkSteps(ctx, program, steps, workingFor(sandboxId)),
    masking,
  ]);
  if (linked.status === "rejected" || masked.status === "rejected") {
    const made = { veths: [veth], addresses };
    await deleteBridged(detached(ctx), program, plan, made, { sandboxId, hasLinks: true });
    throw reasonOf(linked) ?? reasonOf(masked);
  }
  const link = linked.value;
  const hasVersions = plan.cniVersion < "1.0.0";
  return {
    cniVersion: plan.cniVersion,
    interfaces: [
      { name: plan.bridge, mac: link(0).mac },
      { name: veth, mac: link(1).mac },
      { name: podInterface, mac: link(2).mac, sandbox: netnsPath },
    ],
    ips: addresses.map(({ address, prefix, gateway }) => ({
      ...(hasVersions ? { version: String(address.family) } : {}),
      interface: 2,
      address: `${formatIpAddress(address)}/${prefix}`,
      gateway: formatIpAddress(gateway),
    })),
    ...(routes.length === 0
      ? {}
      : {
          routes: routes.map(({ destination, gateway }) => ({
            dst: `${formatIpAddress(destination)}/${destination.prefix}`,
            ...(gateway === undefined ? {} : { gw: formatIpAddress(gateway) }),
          })),
        }),
    ...(hasVersions ? { dns: {} } : {}),
  };
}

function reasonOf(outcome: PromiseSettledResult<unknown>): unknown {
  return outcome.status === "rejected" ? outcome.reason : undefined;
}

/** With `isDefaultGateway`, a default route of each family that has none with a gateway of its own. */
function allRoutes(plan: BridgePlan, addresses: readonly GivenAddress[]): readonly Route[] {
  if (!plan.isDefaultGateway) return plan.routes;
  const routes = [...plan.routes];
  for (const { address, gateway } of addresses) {
    const { family } = address;
    const isThere = routes.some(
      (route) =>
        route.destination.family === family &&
        route.destination.prefix === 0 &&
        route.gateway !== undefined,
    );
    if (!isThere) routes.push({ destination: { family, value: 0n, prefix: 0 }, gateway });
  }
  return routes;
}

interface Made {
  readonly veth: string;
  readonly netnsPath: string;
  readonly addresses: readonly GivenAddress[];
  readonly routes: readonly Route[];
}

/** Slots: 0 the bridge, 1 the node's end of the pair, 2 the pod's. */
function stepsOf(plan: BridgePlan, { veth, netnsPath, addresses, routes }: Made): LinkSteps {
  const { bridge } = plan;
  const hasIpv6 = addresses.some(({ address }) => address.family === 6);
  const ofInterface = (name: string, family: 4 | 6, key: string) =>
    `/proc/sys/net/ipv${family}/conf/${name}/${key}`;
  const steps = new LinkSteps()
    .send(host, `make bridge ${bridge}`, newBridge(bridge, plan.mtu), {}, "EEXIST")
    .lookUp(host, 0, `bridge ${bridge}`, getLink(bridge))
    // Routes of these interfaces are ours to make.
    .write(ofInterface(bridge, 6, "accept_ra"), "0", "any")
    .send(host, `${bridge} up`, linkUp(), { index: 0 });
  const gateways = (plan.isGateway ? addresses : []).map(({ gateway, prefix }) => ({
    family: gateway.family === 4 ? AF_INET : AF_INET6,
    bytes: ipBytes(gateway),
    prefix,
  }));
  // Fails, before anything is made, where the bridge has another one: the plugin knows what to do then.
  for (const gateway of gateways) steps.unlessAddress(host, 0, gateway, new LinkSteps());

  steps
    .enter(pod, netnsPath)
    .send(pod, `make ${podInterface}`, newVeth(podInterface, veth, plan.mtu, hostNamespaceFd))
    .lookUp(pod, 2, podInterface, getLink(podInterface))
    .write(ofInterface(podInterface, 6, "accept_dad"), "0", "any")
    .write(ofInterface(podInterface, 4, "arp_notify"), "1", "any");
  if (hasIpv6) {
    for (const name of ["lo", podInterface]) steps.write(ofInterface(name, 6, "disable_ipv6"), "0");
    steps.write(ofInterface(podInterface, 6, "keep_addr_on_down"), "1");
  }
  for (const { address, prefix } of addresses) {
    const what = `address ${formatIpAddress(address)}`;
    steps.send(pod, what, newAddress(ipBytes(address), prefix), { index: 2 });
  }

  steps
    .enter(host)
    .lookUp(host, 1, veth, getLink(veth))
    .write(ofInterface(veth, 6, "accept_ra"), "0", "any")
    // Up before it comes to the bridge, which sees then that it has no carrier yet, and later that it has.
    .send(host, `${veth} up`, linkUp(), { index: 1 })
    .send(host, `${veth} into ${bridge}`, setMaster(), { index: 1, master: 0 });
  if (plan.hairpin) steps.send(host, `hairpin of ${veth}`, hairpin(), { index: 1 });

  steps.enter(pod).send(pod, `${podInterface} up`, linkUp(), { index: 2 });
  if (hasIpv6) steps.settle(pod, 2, AF_INET6);
  for (const { destination, gateway } of routes) {
    const via =
      gateway ?? addresses.find(({ gateway: own }) => own.family === destination.family)?.gateway;
    const name = `route to ${formatIpAddress(destination)}/${destination.prefix}`;
    const to = { address: ipBytes(destination), prefix: destination.prefix };
    steps.send(pod, name, newRoute(to, via && ipBytes(via)), { index: 2 });
  }

  steps.enter(host);
  for (const gateway of gateways) {
    const { family, bytes, prefix } = gateway;
    const making = new LinkSteps().send(
      host,
      `address of ${bridge}`,
      newAddress(bytes, prefix),
      { index: 0 },
      "EEXIST",
    );
    steps.unlessAddress(host, 0, gateway, making);
    // A bridge whose MAC address was never set takes the lowest one of its ports, which come and go.
    steps.send(host, `MAC address of ${bridge}`, setMac(), { index: 0, mac: 0 });
    const forwarding = family === AF_INET ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding";
    steps.write(`/proc/sys/net/${forwarding}`, "1");
  }
  return steps
    .waitUp(host, 1, `carrier of ${veth}`, getLink(veth))
    .lookUp(host, 0, `bridge ${bridge}`, getLink(bridge));
}

/** What `addBridged` and the plugin have made; known from the result of either. */
export interface Bridged {
  /** The node's end of the pair. */
  readonly veths: readonly string[];
  readonly addresses: readonly { readonly address: IpAddress; readonly prefix: number }[];
}

/** `undefined` when the result has not what the plugin's has. */
export function readBridged(plan: BridgePlan, result: JsonObject): Bridged | undefined {
  const { interfaces, ips } = result;
  if (!Array.isArray(interfaces) || !Array.isArray(ips)) return undefined;
  const veths = interfaces.flatMap((one) => {
    const { name, sandbox = "" } = one as JsonObject;
    return typeof name === "string" && sandbox === "" && /^veth[0-9a-f]{8}$/.test(name)
      ? [name]
      : [];
  });
  const addresses = ips.flatMap((one) => {
    const [base = "", digits = ""] = String((one as JsonObject)["address"]).split("/");
    const address = readIpAddress(base);
    return address === undefined ? [] : [{ address, prefix: Number(digits) }];
  });
  const isWhole = veths.length === 1 && addresses.length === plan.hostLocal.sets.length;
  return isWhole ? { veths, addresses } : undefined;
}

/** DEL. Idempotent. Without `hasLinks`, after a reboot, interfaces of these names are somebody else's. */
export async function deleteBridged(
  ctx: Context,
  program: OwnProgram,
  plan: BridgePlan,
  { veths, addresses }: Bridged,
  { sandboxId, hasLinks }: { readonly sandboxId: string; readonly hasLinks: boolean },
): Promise<void> {
  const steps = new LinkSteps();
  for (const veth of hasLinks ? veths : []) {
    steps.send(host, `remove ${veth}`, deleteLink(veth), {}, "ENODEV");
  }
  const [unlinked, unmasked] = await Promise.allSettled([
    hasLinks ? runLinkSteps(ctx, program, steps, workingFor(sandboxId)) : undefined,
    plan.ipMasq
      ? endMasquerade(ctx, program.run, { network: plan.network, sandboxId, addresses })
      : undefined,
  ]);
  if (unlinked.status === "rejected") throw unlinked.reason;
  // Only now may another pod have the address.
  const owner = ownerOf(sandboxId, podInterface);
  const names = addresses.map(({ address }) => formatIpAddress(address));
  await giveAddressesBack(ctx, plan.hostLocal.dir, owner, names);
  if (unmasked.status === "rejected") throw unmasked.reason;
}

/** After the plugin's DEL, which knows the rules of a pod by the addresses that it finds in the pod. */
export async function deleteUnfinished(
  ctx: Context,
  plan: BridgePlan,
  sandboxId: string,
): Promise<void> {
  if (!plan.ipMasq) return;
  const has = new Set(plan.hostLocal.sets.flat().map(({ family }) => family));
  await endUnfinishedMasquerade(ctx, { network: plan.network, sandboxId }, has);
}
