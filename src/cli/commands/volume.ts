import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  ListVolumesResponseSchema,
  type Volume,
  VolumeSchema,
} from "../../gen/crib/admin/v1/admin_pb.ts";

import { notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import { formatAge } from "../output/format.ts";
import { protoJson, writeList } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { pruneVolumes } from "../prune.ts";
import { checkVolumeName } from "../run/mount-options.ts";

interface Options {
  readonly output: string | undefined;
  readonly quiet: boolean;
  readonly force: boolean;
  readonly "dry-run": boolean;
  readonly label: readonly string[];
}

export const volume = implementCommand("volume", async (env, options, [verb = "", ...names]) => {
  using cri = env.connect();
  switch (verb) {
    case "create":
      return await createVolume(env, cri, names, options);
    case "ls":
      refuseNames(names);
      return await listVolumes(env, cri, options);
    case "inspect":
      requireNames(names);
      return await inspectVolumes(env, cri, names);
    case "rm":
      requireNames(names);
      return await eachOf(env, names, async (name) => {
        if (options.force && (await findVolume(env, cri, name)) === undefined) return;
        await cri.admin.removeVolume({ name }, { signal: env.ctx.signal });
        env.out.write(`${name}\n`);
      });
    default:
      refuseNames(names);
      return await pruneVolumes(env, cri, { force: options.force, dryRun: options["dry-run"] });
  }
});

function requireNames(names: readonly string[]): void {
  if (names.length === 0) throw new UsageError("an argument is missing");
}

function refuseNames([first]: readonly string[]): void {
  if (first !== undefined) throw new UsageError(`unexpected argument "${plain(first)}"`);
}

async function createVolume(
  env: CommandEnv,
  cri: CriClient,
  [name = randomUUID().replaceAll("-", ""), ...others]: readonly string[],
  { label }: Options,
): Promise<number> {
  refuseNames(others);
  const labels = parseLabels(label);
  await cri.admin.createVolume({ name: checkVolumeName(name), labels }, { signal: env.ctx.signal });
  env.out.write(`${name}\n`);
  return exitCodes.ok;
}

async function listVolumes(env: CommandEnv, cri: CriClient, options: Options): Promise<number> {
  const { volumes } = await cri.admin.listVolumes({}, { signal: env.ctx.signal });
  const wanted = Object.entries(parseLabels(options.label));
  const shown = volumes.filter(({ labels }) => {
    return wanted.every(([name, value]) => labels[name] === value);
  });
  const now = env.now();
  writeList(env.out, options, {
    schema: ListVolumesResponseSchema,
    message: create(ListVolumesResponseSchema, { volumes: shown }),
    ids: shown.map(({ name }) => name),
    header: ["VOLUME", "USED BY", "AGE"],
    rows: shown.map(({ name, usedBy, createdAt }) => [
      name,
      String(usedBy.length),
      formatAge(createdAt, now),
    ]),
  });
  return exitCodes.ok;
}

async function inspectVolumes(
  env: CommandEnv,
  cri: CriClient,
  names: readonly string[],
): Promise<number> {
  const found: object[] = [];
  const code = await eachOf(env, names, async (name) => {
    const one = await findVolume(env, cri, name);
    if (one === undefined) throw notFound(`no volume "${plain(name)}"`);
    found.push(protoJson(VolumeSchema, one) as object);
  });
  env.out.write(`${JSON.stringify(found, null, 2)}\n`);
  return code;
}

async function findVolume(
  env: CommandEnv,
  cri: CriClient,
  name: string,
): Promise<Volume | undefined> {
  const { volumes } = await cri.admin.listVolumes({}, { signal: env.ctx.signal });
  return volumes.find((one) => one.name === name);
}
