import { createHash } from "node:crypto";
import type { Context } from "../../lib/context.ts";
import { type RunCommand, runChecked } from "../../os/process/command.ts";
import { childEnv } from "../../os/process/role.ts";
import { formatIpAddress, type IpAddress } from "./ip-address.ts";

/*
 * The rules that the plugin bridge makes for `ipMasq` with iptables: a chain for each pod, called by a digest.
 */

export interface PodAddress {
  readonly address: IpAddress;
  readonly prefix: number;
}

interface PodRules {
  readonly network: string;
  readonly sandboxId: string;
  readonly addresses: readonly PodAddress[];
}

const timeoutMs = 20_000;
const families = [
  { family: 4, program: "iptables", multicast: "224.0.0.0/4" },
  { family: 6, program: "ip6tables", multicast: "ff00::/8" },
] as const;

/** Whom a program works for: what a killed daemon has left running is found by it. */
export function workingFor(sandboxId: string): Readonly<Record<string, string>> {
  return { ...childEnv, CNI_CONTAINERID: sandboxId };
}

/** One transaction for each family. */
export async function masquerade(ctx: Context, run: RunCommand, rules: PodRules): Promise<void> {
  await Promise.all(
    families.map(async ({ family, program, multicast }) => {
      const own = rules.addresses.filter(({ address }) => address.family === family);
      const text = masqueradeRules(rules, own, multicast);
      if (own.length > 0) await restore(ctx, program, rules, text, run);
    }),
  );
}

/** Idempotent: where something of it is missing, each rule is looked for by itself. */
export async function endMasquerade(ctx: Context, run: RunCommand, rules: PodRules): Promise<void> {
  await Promise.all(
    families.map(async ({ family, program }) => {
      const own = rules.addresses.filter(({ address }) => address.family === family);
      if (own.length === 0) return;
      try {
        await restore(ctx, program, rules, unmasqueradeRules(rules, own), run);
      } catch {
        await removeOneByOne(ctx, program, rules);
      }
    }),
  );
}

/** The same where nobody knows what has been made. */
export async function endUnfinishedMasquerade(
  ctx: Context,
  rules: PodChain,
  has: ReadonlySet<4 | 6>,
): Promise<void> {
  const used = families.filter(({ family }) => has.has(family));
  await Promise.all(used.map(({ program }) => removeOneByOne(ctx, program, rules)));
}

type PodChain = Omit<PodRules, "addresses">;

function chainOf({ network, sandboxId }: PodChain): string {
  const digest = createHash("sha512").update(`${network}${sandboxId}`).digest("hex");
  return `CNI-${digest}`.slice(0, 28);
}

function masqueradeRules(rules: PodRules, own: readonly PodAddress[], multicast: string): string {
  const chain = chainOf(rules);
  const inChain = own.flatMap(({ address, prefix }) => [
    `-A ${chain} -d ${formatIpAddress(address)}/${prefix} ${comment(rules)} -j ACCEPT`,
    `-A ${chain} ! -d ${multicast} ${comment(rules)} -j MASQUERADE`,
  ]);
  // A chain that is named is made, or emptied.
  const lines = [`:${chain} - [0:0]`, ...new Set(inChain), ...jumps("-A", rules, own)];
  return transaction(lines);
}

function unmasqueradeRules(rules: PodRules, own: readonly PodAddress[]): string {
  const chain = chainOf(rules);
  return transaction([...jumps("-D", rules, own), `-F ${chain}`, `-X ${chain}`]);
}

function jumps(verb: "-A" | "-D", rules: PodRules, own: readonly PodAddress[]): readonly string[] {
  return own.map(
    ({ address }) =>
      `${verb} POSTROUTING -s ${formatIpAddress(address)} ${comment(rules)} -j ${chainOf(rules)}`,
  );
}

/** A network's name has no character that would need more quoting. */
function comment({ network, sandboxId }: PodChain): string {
  return `-m comment --comment "name: \\"${network}\\" id: \\"${sandboxId}\\""`;
}

function transaction(lines: readonly string[]): string {
  return `*nat\n${lines.join("\n")}\nCOMMIT\n`;
}

async function removeOneByOne(ctx: Context, program: string, pod: PodChain): Promise<void> {
  const chain = chainOf(pod);
  const options = { env: childEnv, timeoutMs };
  const saved = (await runChecked(ctx, [`${program}-save`, "-t", "nat"], options)).toString();
  const lines = saved.split("\n");
  const found = lines.filter(
    (line) => line.startsWith("-A POSTROUTING") && line.endsWith(`-j ${chain}`),
  );
  const isThere = lines.some((line) => line.startsWith(`:${chain} `));
  const deletions = found.map((line) => line.replace(/^-A/, "-D"));
  const ends = isThere ? [`-F ${chain}`, `-X ${chain}`] : [];
  if (deletions.length + ends.length > 0) {
    await restore(ctx, program, pod, transaction([...deletions, ...ends]));
  }
}

async function restore(
  ctx: Context,
  program: string,
  { sandboxId }: PodChain,
  stdin: string,
  run?: RunCommand,
): Promise<void> {
  const argv = [`${program}-restore`, "-w", "5", "--noflush"];
  const options = { env: workingFor(sandboxId), timeoutMs, stdin, endsWithUs: true };
  await runChecked(ctx, argv, options, run);
}
