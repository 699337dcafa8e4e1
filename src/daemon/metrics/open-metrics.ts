import { statfsSync } from "node:fs";
import type { CallsInProgress } from "../../cri/call/calls-in-progress.ts";
import type { Readiness } from "../../cri/call/readiness.ts";
import { version } from "../../version.ts";
import type { OpenedDomain } from "../graph/domain.ts";
import { serveMetrics } from "./metrics-server.ts";
import { NodeMetrics } from "./node-metrics.ts";

/** The metrics of this daemon, and the server for them. Loaded only where an address is configured. */
export function openMetrics(
  { deps, images, monitors }: Pick<OpenedDomain, "deps" | "images" | "monitors">,
  { calls, readiness }: { readonly calls: CallsInProgress; readonly readiness: Readiness },
) {
  const isReady = () => readiness.state === "ready";
  const metrics = new NodeMetrics({
    build: { version, arch: process.arch },
    isReady,
    callsInProgress: () => calls.list(),
    creationsInProgress: () => deps.intents.list().length,
    sandboxes: () => deps.sandboxes.list(),
    containers: () => deps.containers.list(),
    monitors: () => monitors.list(),
    images: () => images.images.list().length,
    layers: () => images.layers.listLayers().length,
    locks: () => ({ sandbox: deps.sandboxLocks.size, container: deps.locks.size }),
    eventSubscribers: () => deps.events.subscribers,
    filesystem() {
      const { blocks, bavail, bsize } = statfsSync(images.layers.directory);
      return { sizeBytes: blocks * bsize, freeBytes: bavail * bsize };
    },
  });
  return {
    interceptor: metrics.interceptor,
    serve: (at: { readonly host: string; readonly port: number }) =>
      serveMetrics(metrics, isReady, at),
  };
}

export type LoadMetrics = () => Promise<typeof openMetrics>;
