import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { CriClient } from "../client.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson, writeJson } from "../output/list-output.ts";
import { Repaint } from "../output/repaint.ts";
import { StatsTable } from "../output/stats-table.ts";
import { getTarget, type Target, type TargetKinds } from "../target.ts";

const intervalMs = 2000;
/** For the first figures, and where they are the only ones. */
const firstIntervalMs = 500;

export const stats = implementCommand("stats", async (env, options, keys) => {
  const asJson = wantsJson(options.output);
  using cri = env.connect();
  const isWanted = await findWanted(env, cri, keys, options);
  if (asJson) {
    const response = await readStats(env, cri, isWanted);
    writeJson(env.out, pb.ListPodSandboxStatsResponseSchema, response);
    return exitCodes.ok;
  }
  if (options["no-stream"] || !env.out.isTerminal) await showOnce(env, cri, isWanted);
  else await showAgain(env, cri, isWanted);
  return exitCodes.ok;
});

type IsWanted = (pod: pb.PodSandboxStats, container: pb.ContainerStats) => boolean;

async function findWanted(
  env: CommandEnv,
  cri: CriClient,
  keys: readonly string[],
  kinds: TargetKinds,
): Promise<IsWanted> {
  if (keys.length === 0) return () => true;
  const targets: Target[] = [];
  for (const key of keys) targets.push(await getTarget(cri, key, kinds, env.ctx.signal));
  const ids = new Set(
    targets.map((target) => (target.kind === "pod" ? target.pod.id : target.container.id)),
  );
  return (pod, container) =>
    ids.has(pod.attributes?.id ?? "") || ids.has(container.attributes?.id ?? "");
}

/** Pods that have something wanted, with that. */
async function readStats(env: CommandEnv, cri: CriClient, isWanted: IsWanted) {
  const response = await cri.runtime.listPodSandboxStats({}, { signal: env.ctx.signal });
  for (const pod of response.stats) {
    if (pod.linux === undefined) continue;
    pod.linux.containers = pod.linux.containers.filter((container) => isWanted(pod, container));
  }
  const wanted = response.stats.filter((pod) => (pod.linux?.containers.length ?? 0) > 0);
  return create(pb.ListPodSandboxStatsResponseSchema, { stats: wanted });
}

async function showOnce(env: CommandEnv, cri: CriClient, isWanted: IsWanted): Promise<void> {
  const table = new StatsTable();
  table.next((await readStats(env, cri, isWanted)).stats);
  await sleep(firstIntervalMs, undefined, { signal: env.ctx.signal });
  const [head = "", ...lines] = table.next((await readStats(env, cri, isWanted)).stats);
  env.out.write([env.out.paint("bold", head), ...lines, ""].join("\n"));
}

/** Never ends but by Ctrl-C, which leaves the last figures on the screen. */
async function showAgain(env: CommandEnv, cri: CriClient, isWanted: IsWanted): Promise<never> {
  const table = new StatsTable();
  const repaint = new Repaint((text) => env.out.write(text));
  let lines: readonly string[] = [];
  const draw = () => {
    const { columns, rows } = env.out.size() ?? { columns: 80, rows: 24 };
    const hidden = lines.length - (rows - 1);
    const shown = hidden > 0 ? [...lines.slice(0, rows - 2), `(${hidden + 1} more)`] : lines;
    const [head = "", ...others] = shown.map((line) => line.slice(0, columns));
    repaint.draw([env.out.paint("bold", head), ...others]);
  };
  using _resized = env.out.onResize(draw);
  for (let pauseMs = firstIntervalMs; ; pauseMs = intervalMs) {
    lines = table.next((await readStats(env, cri, isWanted)).stats);
    draw();
    await sleep(pauseMs, undefined, { signal: env.ctx.signal });
  }
}
