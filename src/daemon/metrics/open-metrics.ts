import { statfsSync, statSync } from "node:fs";
import type { CallsInProgress } from "../../cri/call/calls-in-progress.ts";
import type { Readiness } from "../../cri/call/readiness.ts";
import type { Context } from "../../lib/context.ts";
import { readMetrics } from "../../sandbox/usage/metrics.ts";
import { version } from "../../version.ts";
import type { OpenedDomain } from "../graph/domain.ts";
import type { RequestQueues } from "../listen/grpc-handler.ts";
import { openCallMetrics } from "./call-metrics.ts";
import { MetricSet } from "./metric-set.ts";
import { serveMetrics } from "./metrics-server.ts";
import { addNodeState, type NodeState, type StoreState } from "./node-state.ts";
import { addPodMetrics } from "./pod-metrics.ts";

/** What the metrics are read from, once it is there. */
export interface Measured extends Pick<OpenedDomain, "config" | "deps" | "images" | "monitors"> {
  readonly calls: CallsInProgress;
  readonly readiness: Readiness;
  readonly queues: RequestQueues;
}

/**
 * The metrics of this daemon, and the server for them. Loaded only where an address is configured, before anything is
 * opened: recovery is measured too.
 */
export function openMetrics() {
  const metrics = new MetricSet();
  return {
    ...openCallMetrics(metrics),
    serve(
      ctx: Context,
      node: Measured,
      at: { readonly host: string; readonly port: number; readonly pods: boolean },
    ) {
      addNodeState(metrics, stateOf(node));
      if (at.pods) addPodMetrics(metrics, podsOf(ctx, node));
      return serveMetrics(metrics, () => node.readiness.state === "ready", at);
    },
  };
}

function podsOf(ctx: Context, { deps, images }: Measured) {
  const source = { ...deps, filesystem: images.layers.directory };
  return {
    accounts: deps.cgroups.accounts,
    read: ({ signal }: Pick<Context, "signal">) => readMetrics({ log: ctx.log, signal }, source),
  };
}

function stateOf({
  config,
  deps,
  images,
  monitors,
  calls,
  readiness,
  queues,
}: Measured): NodeState {
  return {
    build: { version, arch: process.arch },
    isReady: () => readiness.state === "ready",
    callsInProgress: () => calls.list(),
    stepsInProgress: () => [
      ...calls.list().flatMap(({ steps }) => steps),
      ...calls.listBackground(),
    ],
    creationsInProgress: () => deps.intents.list().length,
    sandboxes: () => deps.sandboxes.list(),
    containers: () => deps.containers.list(),
    monitors: () => monitors.list(),
    images: () => images.images.list().length,
    layers: () => images.layers.listLayers().length,
    locks: () => ({ sandbox: deps.sandboxLocks.size, container: deps.locks.size }),
    queues: () => ({
      connections: images.registry.transfer.connections.waiting,
      unpack: images.unpacking.waiting,
      large_requests: queues.budget.waiting,
      lists: queues.listing.waiting,
    }),
    eventSubscribers: () => deps.events.subscribers,
    stores: () => storesOf(config.root, images),
    filesystem() {
      const { blocks, bavail, bsize } = statfsSync(images.layers.directory);
      return { sizeBytes: blocks * bsize, freeBytes: bavail * bsize };
    },
  };
}

function storesOf(root: string, images: Measured["images"]): Record<string, StoreState> {
  const layers = images.layers.listLayers();
  const blobs = images.kept.list();
  const downloads = images.ingests.usage();
  const database = ["", "-wal"].map(
    (suffix) => statSync(`${root}/state.db${suffix}`, { throwIfNoEntry: false })?.size ?? 0,
  );
  return {
    layers: { bytes: sum(layers.map(({ usedBytes }) => usedBytes)), objects: layers.length },
    blobs: { bytes: sum(blobs.map(([, blob]) => blob.usedBytes)), objects: blobs.length },
    downloads: {
      bytes: downloads.usedBytes,
      objects: downloads.blobs,
      oldestAtMs: downloads.oldestAtMs,
    },
    database: { bytes: sum(database) },
    documents: { objects: images.content.list().length },
    writable_layers: { objects: images.snapshots.list().length },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export type LoadMetrics = () => Promise<typeof openMetrics>;
