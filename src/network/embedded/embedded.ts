import { readFileSync, renameSync } from "node:fs";
import { abortable } from "../../lib/abortable.ts";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import { type Context, detached } from "../../lib/context.ts";
import { AppError, failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import { asObject, asString, type JsonObject, optional, parseJson } from "../../lib/json.ts";
import { ifThere } from "../../os/errno-error.ts";
import { type Cidr, formatCidr, overlaps, parseCidr } from "../cidr.ts";
import type { RuntimeConfig } from "../cni/attachment.ts";
import { type Conflist, readConflist } from "../cni/conflist.ts";
import { networkName } from "./address-files.ts";
import { allowPodTraffic, findNetfilterTools, type NetfilterTools } from "./netfilter.ts";
import { parseRoutes, type Route } from "./routes.ts";

/** The network that serves when nobody has installed one: a bridge with NAT on this node alone. */
export interface EmbeddedNetwork {
  /** The chain for one pod: only the plugins that it has use for. */
  conflist(wanted: RuntimeConfig): Conflist;
  /** Before a pod is attached: the node's rules for its range, looked at again once a minute. */
  prepare(ctx: Context): Promise<void>;
  /** Takes effect with the next pod and after every restart. Dual stack: two ranges joined by a comma. */
  setPodCidr(podCidr: string): void;
}

export const bridgeName = "crib0";
const rulesAgeMs = 60_000;
const candidates = [
  ...Array.from({ length: 16 }, (_, i) => `10.${88 + i}.0.0/16`),
  ...Array.from({ length: 16 }, (_, i) => `172.${31 - i}.0.0/16`),
].map(parseCidr);

/**
 * `dir` keeps the range once chosen. `addressDir` holds the addresses given out; it should not outlive a reboot, which no
 * pod does, and is the same for all daemons of a node, which share the bridge.
 */
export function openEmbeddedNetwork(places: {
  readonly dir: string;
  readonly addressDir: string;
}): EmbeddedNetwork {
  const settingsPath = `${places.dir}/embedded-network.json`;
  let settings = readSettings(settingsPath);
  const save = (changed: Settings) => {
    writeFileAtomically(settingsPath, JSON.stringify(changed));
    settings = changed;
  };
  const rangesInForce = (routes: readonly Route[]) => {
    const subnet = settings.subnet ?? formatCidr(chooseSubnet(routes));
    if (settings.subnet === undefined) save({ ...settings, subnet });
    return settings.podCidr ?? subnet;
  };
  let prepared:
    | { readonly ranges: string; readonly at: number; readonly done: Promise<void> }
    | undefined;
  return {
    conflist(wanted) {
      const routes = readRoutes();
      return embeddedConflist({
        subnets: rangesInForce(routes).split(",").map(parseCidr),
        dataDir: places.addressDir,
        mtu: mtuOf(routes),
        tools: findNetfilterTools(),
        wanted,
      });
    },
    async prepare(ctx) {
      const ranges = rangesInForce(readRoutes());
      const now = performance.now();
      if (prepared?.ranges !== ranges || now - prepared.at > rulesAgeMs) {
        const subnets = ranges.split(",").map(parseCidr);
        // All that wait share it: one caller's cancellation must not end it for the others.
        const done = allowPodTraffic(detached(ctx), findNetfilterTools(), subnets);
        prepared = { ranges, at: now, done };
      }
      const { done } = prepared;
      try {
        await abortable(done, ctx.signal);
      } catch (err) {
        prepared = undefined;
        throw new AppError("netfilter rules of the embedded network", {
          kind: "unavailable",
          cause: err,
        });
      }
    },
    setPodCidr(podCidr) {
      const text = podCidr.replaceAll(" ", "");
      if (text !== "") parsePodCidr(text);
      const { podCidr: _, ...rest } = settings;
      if (text !== (settings.podCidr ?? "")) save(text === "" ? rest : { ...rest, podCidr: text });
    },
  };
}

/** Pure: the configuration from all that it depends on. */
export function embeddedConflist(options: {
  readonly subnets: readonly Cidr[];
  readonly dataDir: string;
  readonly mtu: number | undefined;
  readonly tools: NetfilterTools;
  readonly wanted: RuntimeConfig;
}): Conflist {
  const { subnets, tools, wanted } = options;
  if (wanted.portMappings !== undefined && !tools.iptables && !tools.nft) {
    throw failedPrecondition("host ports need iptables or nft on this node");
  }
  // With both there the plugin finds out which one works.
  const backend = tools.iptables && tools.nft ? undefined : tools.nft ? "nftables" : "iptables";
  const bridge: JsonObject = {
    type: "bridge",
    bridge: bridgeName,
    isGateway: true,
    // A changed range replaces the bridge's old address.
    forceAddress: true,
    hairpinMode: true,
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    ipam: {
      type: "host-local",
      dataDir: options.dataDir,
      ranges: subnets.map((subnet) => [{ subnet: formatCidr(subnet) }]),
      routes: subnets.map(({ family }) => ({ dst: family === 4 ? "0.0.0.0/0" : "::/0" })),
    },
  };
  const portmap: JsonObject = {
    type: "portmap",
    capabilities: { portMappings: true },
    // Also connections from the node itself, to 127.0.0.1, reach the pod.
    snat: true,
    ...(backend === undefined ? {} : { backend }),
  };
  const bandwidth: JsonObject = { type: "bandwidth", capabilities: { bandwidth: true } };
  return readConflist(
    {
      cniVersion: "1.0.0",
      name: networkName,
      plugins: [
        bridge,
        ...(wanted.portMappings === undefined ? [] : [portmap]),
        ...(wanted.bandwidth === undefined ? [] : [bandwidth]),
      ],
    },
    "embedded network",
  );
}

/** The range of the bridge if it is there already (of another daemon); else the first candidate that no route of the node goes to. */
export function chooseSubnet(routes: readonly Route[]): Cidr {
  const existing = routes.find((route) => route.interface === bridgeName);
  if (existing !== undefined) return existing.destination;
  const taken = routes.filter((route) => route.destination.prefix > 0);
  const free = candidates.find(
    (candidate) => !taken.some(({ destination }) => overlaps(candidate, destination)),
  );
  if (free === undefined) {
    throw failedPrecondition("no free range of addresses for the embedded network; set a pod CIDR");
  }
  return free;
}

interface Settings {
  readonly subnet?: string;
  readonly podCidr?: string;
}

function readSettings(path: string): Settings {
  const bytes = ifThere(() => readFileSync(path));
  if (bytes === undefined) return {};
  try {
    return parseSettings(bytes, path);
  } catch {
    // The bridge, where there is one, has the range that is in use.
    renameSync(path, `${path}.corrupt`);
    return {};
  }
}

function parseSettings(bytes: Uint8Array, path: string): Settings {
  const json = asObject(parseJson(bytes, path, { maxBytes: 65536 }), path);
  const subnet = optional(json["subnet"], `${path}: subnet`, asString);
  const podCidr = optional(json["podCidr"], `${path}: podCidr`, asString);
  return {
    ...(subnet === undefined ? {} : { subnet: formatCidr(parseCidr(subnet)) }),
    ...(podCidr === undefined ? {} : { podCidr: parsePodCidr(podCidr) }),
  };
}

/** One range, or one of each family. A range must have room for a gateway and a pod. */
function parsePodCidr(text: string): string {
  const ranges = text.split(",").map(parseCidr);
  const families = new Set(ranges.map(({ family }) => family));
  if (families.size !== ranges.length) {
    throw invalidArgument(`pod CIDR ${JSON.stringify(text.slice(0, 100))}: two of one family`);
  }
  for (const range of ranges) {
    if (range.prefix > (range.family === 4 ? 30 : 126)) {
      throw invalidArgument(`pod CIDR ${formatCidr(range)} has no room for a pod`);
    }
  }
  return text;
}

function readRoutes(): readonly Route[] {
  try {
    return parseRoutes(readFileSync("/proc/net/route", "latin1"));
  } catch {
    return [];
  }
}

/** The MTU of the way out, where it is not the usual one: larger packets would be lost there. */
function mtuOf(routes: readonly Route[]): number | undefined {
  const out = routes.find(({ destination }) => destination.prefix === 0);
  if (out === undefined) return undefined;
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${out.interface}/mtu`, "latin1"));
    return Number.isInteger(mtu) && mtu >= 576 && mtu <= 65535 && mtu !== 1500 ? mtu : undefined;
  } catch {
    return undefined;
  }
}
