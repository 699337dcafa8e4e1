import { statfsSync } from "node:fs";
import { type ContainerMetrics, readContainerMetrics } from "../../container/metrics.ts";
import type { ContainerStats } from "../../container/stats.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { filesystemDevice } from "../../os/file/block-device.ts";
import type { Sandbox } from "../sandbox.ts";
import { type InterfaceCounters, type PodStatsDeps, readPodStats } from "./stats.ts";

export interface PodMetrics {
  readonly sandbox: Sandbox;
  /** Absent for a pod in the node's network. */
  readonly network: readonly InterfaceCounters[] | undefined;
  readonly containers: readonly ContainerMetrics[];
}

/** The file system that all writable layers are on. */
export interface Filesystem {
  /** `/dev/sda1`; the source of its mount where it is on no disk. */
  readonly device: string;
  readonly sizeBytes: number;
  readonly inodes: number;
  readonly freeInodes: number;
}

export interface NodeMetrics {
  readonly filesystem: Filesystem;
  readonly pods: readonly PodMetrics[];
}

/** Of every pod that is ready, and its containers that have not ended. */
export async function readMetrics(
  ctx: Context,
  deps: PodStatsDeps & { readonly filesystem: string },
): Promise<NodeMetrics> {
  const ready = deps.sandboxes.list().filter(({ state }) => state === "ready");
  const pods: PodMetrics[] = [];
  for (const { sandbox, network, containers } of await readPodStats(ctx, deps, ready)) {
    // Descriptors of many processes are looked at: others have a turn after each pod.
    await new Promise(setImmediate);
    ctx.signal.throwIfAborted();
    const metrics = await Promise.all(containers.map((stats) => readMetricsOf(ctx, deps, stats)));
    pods.push({ sandbox, network, containers: metrics.filter((one) => one !== undefined) });
  }
  return { filesystem: readFilesystem(deps.filesystem), pods };
}

/** What cannot be read of one container is absent, and the others have theirs. */
async function readMetricsOf(
  ctx: Context,
  deps: PodStatsDeps,
  stats: ContainerStats,
): Promise<ContainerMetrics | undefined> {
  try {
    return await readContainerMetrics(ctx, deps, stats);
  } catch (err) {
    ctx.signal.throwIfAborted();
    const { id } = stats.container;
    ctx.log.warn("container metrics not read", { container: id, err: describe(err) });
    return undefined;
  }
}

function readFilesystem(path: string): Filesystem {
  const { blocks, bsize, files, ffree } = statfsSync(path);
  return {
    device: filesystemDevice(path),
    sizeBytes: blocks * bsize,
    inodes: files,
    freeInodes: ffree,
  };
}
