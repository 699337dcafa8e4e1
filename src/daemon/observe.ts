import type { Interceptor } from "@connectrpc/connect";
import type { CallsInProgress } from "../cri/call/calls-in-progress.ts";
import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { openSteps } from "../lib/step.ts";
import type { Config } from "./config/config.ts";
import { splitAddress } from "./listen/mirror.ts";
import type { LoadMetrics, Measured } from "./metrics/open-metrics.ts";
import type { LoadTraces, Traces } from "./traces/open-traces.ts";
import { traceTarget } from "./traces/trace-target.ts";

/** Who gets to know what the daemon does, as far as the configuration wants it. */
export interface Observers extends Pick<Context, "step" | "count"> {
  /** Outside of the one that turns errors into statuses. */
  readonly interceptors: readonly Interceptor[];
  /** Serves what there is to read, where an address is configured. A node without metrics is better than none. */
  serve(ctx: Context, node: Measured): Promise<AsyncDisposable | undefined>;
}

/**
 * Opens metrics and traces, before anything else: recovery is seen too. What does not work is logged. `resources` takes
 * what has to be closed.
 */
export async function openObservers(
  log: Log,
  config: Config,
  calls: Pick<CallsInProgress, "stepListener">,
  resources: AsyncDisposableStack,
  parts: {
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly loadMetrics: LoadMetrics;
    readonly loadTraces: LoadTraces;
  },
): Promise<Observers> {
  const { address, pods } = config.metrics;
  const metrics = address === "" ? undefined : (await parts.loadMetrics())();
  const traces = await openTraces(log, config, parts);
  if (traces !== undefined) resources.use(traces);
  const observers = [metrics, traces].filter((one) => one !== undefined);
  return {
    step: openSteps([calls.stepListener(), ...observers.map(({ stepListener }) => stepListener)]),
    count: metrics?.count,
    interceptors: observers.map(({ interceptor }) => interceptor),
    async serve(ctx, node) {
      if (metrics === undefined) return undefined;
      try {
        const [host, port] = splitAddress(address);
        const server = await metrics.serve(ctx, node, { host, port, pods });
        log.info("serving metrics", { address: host, port: server.port });
        return server;
      } catch (err) {
        log.error("metrics are not served", { err: describe(err) });
        return undefined;
      }
    },
  };
}

async function openTraces(
  log: Log,
  config: Config,
  { environment, loadTraces }: Parameters<typeof openObservers>[4],
): Promise<Traces | undefined> {
  const target = traceTarget(config, environment);
  if (target === undefined) return undefined;
  const { protocol, sampler } = target;
  try {
    const traces = await (await loadTraces())(log, target);
    log.info("exporting traces", { protocol, sampler });
    return traces;
  } catch (err) {
    log.error("traces not exported", { protocol, err: describe(err) });
    return undefined;
  }
}
