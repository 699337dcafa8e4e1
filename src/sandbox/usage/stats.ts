import type { OpenCgroups } from "../../cgroup/stats/open-cgroups.ts";
import { taskOf } from "../../container/runtimes.ts";
import {
  type CgroupReading,
  type ContainerStats,
  readContainerStats,
} from "../../container/stats.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { SandboxId } from "../../lib/id.ts";
import type { NetworkCounters } from "../../network/inside/counters.ts";
import type { InterfaceCounters } from "../../network/inside/interfaces.ts";
import type { SandboxDeps } from "../deps.ts";
import { sandboxDirectoryOf } from "../environment/directory.ts";
import { sandboxTaskOf } from "../environment/infra.ts";
import { podNamespaces } from "../environment/namespaces.ts";
import { podCgroups } from "../environment/pod-cgroup.ts";
import type { LifecycleEvent } from "../events/events.ts";
import type { Sandbox } from "../sandbox.ts";
import { sumReadings } from "./sum-readings.ts";

export type { InterfaceCounters } from "../../network/inside/interfaces.ts";

export interface PodStatsDeps
  extends Pick<
    SandboxDeps,
    | "stateDir"
    | "runtimes"
    | "leftRuntime"
    | "containers"
    | "sandboxes"
    | "snapshots"
    | "cgroupDriver"
    | "clock"
  > {
  readonly cgroups: OpenCgroups;
  readonly networkCounters: NetworkCounters;
}

export interface PodStats {
  readonly sandbox: Sandbox;
  readonly atNs: bigint;
  /** Of the pod's own cgroup, or else the sum of its containers; absent for a pod that is not ready. */
  readonly cgroup: CgroupReading | undefined;
  readonly processes: number;
  /** All interfaces but the loopback one; absent for a pod in the node's network, and for one that is not ready. */
  readonly network: readonly InterfaceCounters[] | undefined;
  readonly containers: readonly ContainerStats[];
}

/** Reads what these pods use, all of it now. */
export async function readPodStats(
  ctx: Context,
  deps: PodStatsDeps,
  sandboxes: readonly Sandbox[],
): Promise<readonly PodStats[]> {
  const wanted = new Set(sandboxes.map(({ id }) => id));
  const containers = deps.containers.list().filter(({ sandboxId }) => wanted.has(sandboxId));
  const [stats] = await Promise.all([
    readContainerStats(ctx, deps, containers),
    openNetworkCounters(ctx, deps, sandboxes),
  ]);
  const inside = Map.groupBy(stats, ({ container }) => container.sandboxId);
  const cgroups = podCgroups(deps, deps.sandboxes.list());
  return await Promise.all(
    sandboxes.map(async (sandbox) => ({
      sandbox,
      atNs: deps.clock(),
      ...(await readPod(ctx, deps, sandbox, cgroups.get(sandbox.id), inside.get(sandbox.id) ?? [])),
      containers: inside.get(sandbox.id) ?? [],
    })),
  );
}

type PodReading = Pick<PodStats, "cgroup" | "processes" | "network">;
const nothing: PodReading = { cgroup: undefined, processes: 0, network: undefined };

/** What cannot be read of one pod is absent, and the others have theirs. */
async function readPod(...pod: Parameters<typeof readLivePod>): Promise<PodReading> {
  const [ctx, , sandbox] = pod;
  if (sandbox.state !== "ready") return nothing;
  try {
    return await readLivePod(...pod);
  } catch (err) {
    ctx.signal.throwIfAborted();
    ctx.log.warn("pod statistics not read", { sandbox: sandbox.id, err: describe(err) });
    return nothing;
  }
}

async function readLivePod(
  ctx: Context,
  deps: PodStatsDeps,
  sandbox: Sandbox,
  podCgroup: string | undefined,
  containers: readonly ContainerStats[],
): Promise<PodReading> {
  const live = containers.filter(({ cgroup }) => cgroup !== undefined);
  const own = sandboxTaskOf(deps, sandbox);
  const tasks = [
    ...live.map(({ container }) => taskOf(deps, container)),
    ...(own === undefined ? [] : [own]),
  ];
  const whole = podCgroup === undefined ? undefined : deps.cgroups.read(podCgroup);
  const parts = async () => [
    ...live.flatMap(({ cgroup }) => cgroup ?? []),
    ...(own === undefined ? [] : [await own.statistics(ctx)]),
  ];
  const counts = await Promise.all(tasks.map((task) => task.countProcesses(ctx)));
  return {
    cgroup: whole?.cpu === undefined ? sumReadings(await parts()) : whole,
    processes: counts.reduce((sum, count) => sum + count, 0),
    network: deps.networkCounters.read(sandbox.id)?.filter(({ name }) => name !== "lo"),
  };
}

/** Statistics without those of the network are better than none. */
async function openNetworkCounters(
  ctx: Context,
  deps: Pick<PodStatsDeps, "stateDir" | "networkCounters">,
  sandboxes: readonly Sandbox[],
): Promise<void> {
  const namespaces = sandboxes
    .filter(({ state, config }) => state === "ready" && podNamespaces(config).net)
    .map(({ id }): [SandboxId, string] => [id, sandboxDirectoryOf(deps.stateDir, id).netns]);
  try {
    await deps.networkCounters.open(ctx, new Map(namespaces));
  } catch (err) {
    ctx.signal.throwIfAborted();
    ctx.log.warn("network counters not opened", { err: describe(err) });
  }
}

/** Closes what statistics keep open of something that has ended. */
export function forgetStats(
  deps: Pick<PodStatsDeps, "cgroups" | "networkCounters" | "cgroupDriver">,
  event: LifecycleEvent,
): void {
  if (event.type !== "stopped" && event.type !== "deleted") return;
  if ("container" in event) return; // its runtime's
  const { sandbox } = event;
  deps.networkCounters.forget(sandbox.id);
  for (const path of podCgroups(deps, [sandbox]).values()) deps.cgroups.forget(path);
}
