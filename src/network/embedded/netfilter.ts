import { existsSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { runChecked, runCommand } from "../../os/process/command.ts";
import { childEnv } from "../../os/process/role.ts";
import { type Cidr, formatCidr } from "../cidr.ts";

/** Which netfilter tools the node has. */
export interface NetfilterTools {
  readonly iptables: boolean;
  readonly nft: boolean;
}

const timeoutMs = 10_000;

export function findNetfilterTools(): NetfilterTools {
  const dirs = childEnv["PATH"]?.split(":") ?? [];
  const has = (tool: string) => dirs.some((dir) => existsSync(`${dir}/${tool}`));
  return { iptables: has("iptables") && has("iptables-restore"), nft: has("nft") };
}

/**
 * Lets pods of these ranges out: what leaves a range takes the node's address, and nothing on the node (Docker's default policy) keeps
 * it from being forwarded. Rules are for the range, not for each pod: bridge and firewall plugin would run iptables a dozen
 * times per pod. Idempotent: replaces its own rules only.
 */
export async function allowPodTraffic(
  ctx: Context,
  tools: NetfilterTools,
  subnets: readonly Cidr[],
): Promise<void> {
  if (tools.iptables) {
    try {
      for (const subnet of subnets) await withIptables(ctx, subnet);
      return;
    } catch (err) {
      // A kernel without what iptables wants may still have nftables.
      if (!tools.nft) throw err;
      ctx.log.warn("iptables failed, using nft", { err: describe(err) });
    }
  }
  if (tools.nft) await run(ctx, ["nft", "-f", "-"], nftRules(subnets));
  else ctx.log.warn("masquerading unavailable", { err: "the node has neither iptables nor nft" });
}

async function withIptables(ctx: Context, subnet: Cidr): Promise<void> {
  const iptables = subnet.family === 4 ? "iptables" : "ip6tables";
  await run(ctx, [`${iptables}-restore`, "-w", "5", "--noflush"], iptablesRules(subnet));
  await ensureRule(ctx, iptables, "nat", "-A", ["POSTROUTING", "-j", "CRIB-MASQ"]);
  await ensureRule(ctx, iptables, "filter", "-I", ["FORWARD", "-j", "CRIB-FORWARD"]);
}

/** Takes away what `allowPodTraffic` has made, of any range and by either tool; what is not there is no failure. */
export async function forbidPodTraffic(ctx: Context, tools: NetfilterTools): Promise<void> {
  const options = { env: childEnv, timeoutMs };
  for (const iptables of tools.iptables ? ["iptables", "ip6tables"] : []) {
    for (const [table, hook, chain] of iptablesChains) {
      const argv = [iptables, "-w", "5", "-t", table];
      await runCommand(ctx, [...argv, "-D", hook, "-j", chain], options);
      await runCommand(ctx, [...argv, "-F", chain], options);
      await runCommand(ctx, [...argv, "-X", chain], options);
    }
  }
  if (tools.nft) await runCommand(ctx, ["nft", "delete", "table", "inet", "crib"], options);
}

const iptablesChains = [
  ["nat", "POSTROUTING", "CRIB-MASQ"],
  ["filter", "FORWARD", "CRIB-FORWARD"],
] as const;

/** With --noflush a chain of ours that is named anew is emptied, and all else stays. */
export function iptablesRules(subnet: Cidr): string {
  const range = formatCidr(subnet);
  return `*nat
:CRIB-MASQ - [0:0]
-A CRIB-MASQ -d ${range} -j RETURN
-A CRIB-MASQ -d ${subnet.family === 4 ? "224.0.0.0/4" : "ff00::/8"} -j RETURN
-A CRIB-MASQ -s ${range} -j MASQUERADE
COMMIT
*filter
:CRIB-FORWARD - [0:0]
-A CRIB-FORWARD -s ${range} -j ACCEPT
-A CRIB-FORWARD -d ${range} -j ACCEPT
COMMIT
`;
}

/** One transaction: the table is made if absent, then replaced. */
export function nftRules(subnets: readonly Cidr[]): string {
  const rules = subnets.map((subnet) => {
    const family = subnet.family === 4 ? "ip" : "ip6";
    const range = formatCidr(subnet);
    const multicast = subnet.family === 4 ? "224.0.0.0/4" : "ff00::/8";
    return `    ${family} saddr ${range} ${family} daddr != { ${range}, ${multicast} } masquerade\n`;
  });
  return `table inet crib
delete table inet crib
table inet crib {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
${rules.join("")}  }
}
`;
}

async function ensureRule(
  ctx: Context,
  iptables: string,
  table: string,
  add: "-A" | "-I",
  rule: readonly string[],
): Promise<void> {
  const argv = [iptables, "-w", "5", "-t", table];
  const options = { env: childEnv, timeoutMs };
  const { exitCode } = await runCommand(ctx, [...argv, "-C", ...rule], options);
  if (exitCode !== 0) await runChecked(ctx, [...argv, add, ...rule], options);
}

async function run(ctx: Context, argv: readonly string[], stdin: string): Promise<void> {
  await runChecked(ctx, argv, { env: childEnv, timeoutMs, stdin });
}
