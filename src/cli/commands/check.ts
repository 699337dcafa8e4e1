import { resolve } from "node:path";
import { childEnv } from "../../os/process/role.ts";
import { checkCgroups } from "../check/cgroups.ts";
import { checkConfiguration, placesOf } from "../check/configuration.ts";
import type { Finding, Level } from "../check/finding.ts";
import { checkKernel } from "../check/kernel.ts";
import { checkLimits } from "../check/limits.ts";
import { checkNetwork } from "../check/network.ts";
import { thisNode } from "../check/node.ts";
import { checkStorage } from "../check/storage.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { type Output, plain, type Style } from "../output/output.ts";

const styles = { ok: "green", warning: "yellow", missing: "red" } as const satisfies Record<
  Level,
  Style
>;

export const check = implementCommand("check", async (env, options) => {
  const asJson = wantsJson(options.output);
  const all = await findAll(env, options);
  const shown = options.quiet ? all.filter(({ level }) => level !== "ok") : all;
  if (asJson) env.out.write(`${JSON.stringify(shown, null, 2)}\n`);
  else writeFindings(env.out, shown);
  return all.some(({ level }) => level === "missing") ? exitCodes.failed : exitCodes.ok;
});

/** What this node has and lacks. */
export async function findAll(
  env: CommandEnv,
  places: {
    readonly root?: string | undefined;
    readonly state?: string | undefined;
    readonly config?: string | undefined;
  },
): Promise<readonly Finding[]> {
  const node = thisNode(env.now());
  const tools = await env.loadConfigTools();
  const configured = placesOf(await tools.read(places.config).catch(() => undefined));
  const root = resolve(places.root ?? env.variables["CRIB_DATA"] ?? configured.root);
  const state = resolve(places.state ?? configured.state);
  const { confDirs, hasDefaultNetwork: hasDefault } = configured;
  return [
    ...checkKernel(node),
    ...checkCgroups(node),
    ...checkNetwork(node, { path: (childEnv["PATH"] ?? "").split(":"), confDirs, hasDefault }),
    ...checkStorage(node, { root, state }),
    ...checkLimits(node),
    ...(await checkConfiguration(env.ctx, tools, places.config)),
  ];
}

function writeFindings(out: Output, findings: readonly Finding[]): void {
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  for (const [i, { area, name, level, detail }] of findings.entries()) {
    if (findings[i - 1]?.area !== area) out.write(`${out.paint("bold", area)}\n`);
    const mark = out.paint(styles[level], level.padEnd(7));
    out.write(`  ${mark}  ${name.padEnd(width)}  ${plain(detail)}\n`);
  }
}
