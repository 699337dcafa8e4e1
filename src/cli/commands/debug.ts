import { closeSync, fchmodSync, fstatSync, openSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import {
  GetActivityResponseSchema,
  type StepInProgress,
} from "../../gen/crib/admin/v1/admin_pb.ts";
import { makeBundle } from "../bundle/bundle.ts";
import { daemonParts } from "../bundle/daemon-parts.ts";
import { nodeParts } from "../bundle/node-parts.ts";
import { placesOf } from "../check/configuration.ts";
import { type CommandEnv, implementCommand, type ReadConfig } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson, writeJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";
import { findAll } from "./check.ts";
import { readInForce } from "./config.ts";

export const debug = implementCommand("debug", async (env, { output, log }, [action, file]) => {
  if (action === "bundle") {
    await writeBundle(env, file, log);
    return exitCodes.ok;
  }
  using cri = env.connect();
  const activity = await cri.admin.getActivity({}, { signal: env.ctx.signal });
  if (wantsJson(output)) {
    writeJson(env.out, GetActivityResponseSchema, activity);
    return exitCodes.ok;
  }
  const { counts, calls, background, creations } = activity;
  for (const [name, count] of Object.entries(counts)) env.out.write(`${plain(name)} ${count}\n`);
  const rows = [
    ...calls.flatMap(({ rpc, subject, ageMs, steps }) => [
      [rpc, seconds(ageMs), fields(subject)],
      ...steps.map((step) => stepRow(step)),
    ]),
    ...background.map((step) => stepRow(step)),
    ...creations.map(({ containerId, podSandboxId }) => [
      "creation",
      "",
      `container=${containerId} sandbox=${podSandboxId}`,
    ]),
  ];
  if (rows.length > 0) writeTable(env.out, ["IN PROGRESS", "AGE", "SUBJECT"], rows);
  return exitCodes.ok;
});

async function writeBundle(
  env: CommandEnv,
  file: string | undefined,
  log: string | undefined,
): Promise<void> {
  using cri = env.connect();
  const { root, state } = placesOf(await readConfig(env).catch(() => undefined));
  const places = { root, state };
  const time = env
    .now()
    .toISOString()
    .replaceAll(/[-:]|\.\d+/g, "");
  const directory = `crib-bundle-${hostname()}-${time}`;
  const bundle = await makeBundle(directory, env.now(), [
    ...daemonParts(cri, () => readConfig(env)),
    {
      name: "check.json",
      about: "what this node has and lacks (crib check)",
      read: async () => `${JSON.stringify(await findAll(env, places), null, 2)}\n`,
    },
    ...nodeParts(Object.values(places), log),
  ]);
  if (file === "-") return env.out.write(bundle);
  const path = resolve(file ?? `${directory}.tar.gz`);
  writeForOwner(path, bundle, file === undefined);
  env.out.write(`${plain(path)}\n`);
}

/** Nobody else can read it, also where a file was; of a name of our own nothing may be there, and no link. */
function writeForOwner(path: string, bytes: Uint8Array, isNew: boolean): void {
  const fd = openSync(path, isNew ? "wx" : "w", 0o600);
  try {
    if (fstatSync(fd).isFile()) fchmodSync(fd, 0o600);
    writeFileSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
}

/** As it is in force, or else as the files have it. */
async function readConfig(env: CommandEnv): Promise<ReadConfig> {
  return (await readInForce(env)) ?? (await (await env.loadConfigTools()).read(undefined));
}

function stepRow({ name, attributes, ageMs }: StepInProgress): string[] {
  return [`  ${name}`, seconds(ageMs), fields(attributes)];
}

function seconds(ageMs: bigint): string {
  return `${Number(ageMs) / 1000} s`;
}

function fields(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}
