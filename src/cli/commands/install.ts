import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { copyExecutable, isSameFile } from "../../install/executable-file.ts";
import { loadModules, setSysctls } from "../../install/kernel-settings.ts";
import { kubeletFiles, kubeletHints, type NodeView } from "../../install/kubelet-files.ts";
import {
  type InitSystem,
  initSystems,
  type NodeFile,
  nodeFiles,
  paths,
} from "../../install/node-files.ts";
import { type Placement, placeFiles, placementOf, readRecord } from "../../install/place-files.ts";
import { detectInit, enableInImage, openService } from "../../install/service.ts";
import { untilServing } from "../../install/upgrade.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { nodeIsServing, requireRoot } from "../node-service.ts";
import { plain } from "../output/output.ts";

const words: Readonly<Record<Placement, string>> = {
  new: "written",
  changed: "replaced",
  same: "there already",
  kept: "kept",
  beside: "kept: changed by somebody, the new one is beside it as .crib-new",
};

const startTimeoutMs = 180_000;

export const install = implementCommand("install", async (env, options) => {
  const root = options.root === undefined ? "" : resolve(options.root).replace(/\/$/, "");
  const init = parseInit(options.init) ?? detectInit(root);
  const config = (await env.loadConfigTools()).defaultText();
  const files = [
    ...nodeFiles(init, config),
    ...(options.kubelet ? kubeletFiles(nodeBelow(root)) : []),
  ];
  if (options["dry-run"]) {
    writePlan(env, root, files);
    return exitCodes.ok;
  }
  requireRoot("install");
  await placeExecutable(env, root);
  for (const { file, placement } of placeFiles(root, files)) {
    env.out.write(`${file.path}: ${words[placement]}\n`);
  }
  if (root !== "") enableInImage(root, init);
  if (root === "" && !options["no-start"]) {
    for (const warning of [...(await loadModules()), ...setSysctls()]) {
      env.out.writeError(`crib: ${plain(warning)}\n`);
    }
    await openService(init).enable();
    const timeout = AbortSignal.any([env.ctx.signal, AbortSignal.timeout(startTimeoutMs)]);
    if (!(await untilServing(nodeIsServing, timeout))) {
      throw failedPrecondition(`the service does not serve: see ${logOf(init)}`);
    }
    env.out.write(`crib serves on unix:///run/crib/crib.sock\n`);
  }
  if (!options.kubelet) writeHints(env);
  return exitCodes.ok;
});

function nodeBelow(root: string): NodeView {
  const has = (path: string) => existsSync(`${root}${path}`);
  return { has, read: (path) => (has(path) ? readFileSync(`${root}${path}`, "utf8") : undefined) };
}

function parseInit(name: string | undefined): InitSystem | undefined {
  const init = initSystems.find((known) => known === name);
  if (name !== undefined && init === undefined) {
    throw new UsageError(`--init ${name}: not one of ${initSystems.join(", ")}`);
  }
  return init;
}

async function placeExecutable(env: CommandEnv, root: string): Promise<void> {
  const self = env.variables["CRIB_LAUNCHER"];
  if (self === undefined)
    throw failedPrecondition("install needs the executable, as `npm run build` makes it");
  const to = `${root}${paths.executable}`;
  const isThere = await isSameFile(self, to);
  if (!isThere && existsSync(to)) {
    const wasStarted = root === "" && (await nodeIsServing(env.ctx.signal).catch(() => false));
    if (wasStarted) {
      throw failedPrecondition(`${to}: another version, and it runs: \`crib upgrade ${self}\``);
    }
  }
  if (!isThere) copyExecutable(self, to);
  env.out.write(`${paths.executable}: ${isThere ? words.same : words.new}\n`);
}

function writePlan(env: CommandEnv, root: string, files: readonly NodeFile[]): void {
  const record = readRecord(root);
  env.out.write(`# ${paths.executable}\n# this executable, mode 755\n`);
  for (const file of files) {
    const mode = file.mode.toString(8);
    const outcome = words[placementOf(root, file, record)];
    env.out.write(`\n# ${file.path}\n# ${file.purpose}, mode ${mode}; would be ${outcome}\n`);
    env.out.write(file.content);
  }
}

function writeHints(env: CommandEnv): void {
  env.out.write("\nWhat a kubelet needs (--kubelet writes it for those on this node):\n");
  for (const [who, what] of kubeletHints()) env.out.write(`  ${`${who}:`.padEnd(31)}${what}\n`);
}

function logOf(init: InitSystem): string {
  return init === "systemd" ? "`journalctl -u crib`" : paths.log;
}
