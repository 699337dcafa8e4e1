import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { countKey, listenToSteps } from "../../cri/call/interceptor.ts";
import { type Count, countDescriptions } from "../../lib/count.ts";
import { kindOf } from "../../lib/errors.ts";
import type { StepListener } from "../../lib/step.ts";
import { LabelLimit, type MetricSet } from "./metric-set.ts";

const maxHosts = 100;
const maxLabels = 60;
const maxLabelLength = 60;

export interface CallMetrics {
  /** Counts and times every call and its steps; outside of what turns errors into statuses. */
  readonly interceptor: Interceptor;
  readonly stepListener: StepListener;
  readonly count: Count;
}

/** What is measured while it happens: calls, steps, and what the domain counts. */
export function openCallMetrics(metrics: MetricSet): CallMetrics {
  const stepListener = openStepMetrics(metrics);
  const count = openCounts(metrics);
  return { stepListener, count, interceptor: openInterceptor(metrics, stepListener, count) };
}

function openStepMetrics(metrics: MetricSet): StepListener {
  const duration = metrics.histogram(
    "crib_step_duration_seconds",
    "Duration of the steps of calls and of background work, failed ones too.",
    ["step"],
  );
  const failures = metrics.counter(
    "crib_step_failures_total",
    "Steps that failed, by kind of error; cancelled is a caller that gave up.",
    ["step", "kind"],
  );
  const hostDuration = metrics.histogram(
    "crib_registry_duration_seconds",
    "Duration of image.resolve and image.blob by the host that was asked: a registry, a mirror or a peer.",
    ["host", "step"],
  );
  const hostFailures = metrics.counter(
    "crib_registry_failures_total",
    "Those of them that failed, by kind of error.",
    ["host", "step", "kind"],
  );
  const started = metrics.counter("crib_monitor_starts_total", "Monitors that were started.", []);
  const replaced = metrics.counter(
    "crib_monitor_replacements_total",
    "Monitors that were killed or did not respond, and were replaced.",
    [],
  );
  const hosts = new LabelLimit(maxHosts);
  return (step, attributes) => {
    const end = duration.startTimer({ step });
    return (outcome) => {
      const seconds = end();
      const kind = outcome.isFailed
        ? outcome.error === undefined
          ? "unknown"
          : kindOf(outcome.error)
        : undefined;
      if (kind !== undefined) failures.inc({ step, kind });
      else if (step === "monitor.start") started.inc();
      else if (step === "monitor.replace") replaced.inc();
      const named = attributes?.["host"];
      if (named === undefined) return;
      const host = hosts.of(`${named}`);
      hostDuration.observe({ host, step }, seconds);
      if (kind !== undefined) hostFailures.inc({ host, step, kind });
    };
  };
}

function openCounts(metrics: MetricSet): Count {
  const counters = new Map(
    Object.entries(countDescriptions).map(([name, { label, help }]) => {
      const counter = metrics.counter<string>(metricName(name), help, [label]);
      return [name, { counter, label, limit: new LabelLimit(maxLabels) }] as const;
    }),
  );
  return (name, amount, value) => {
    const entry = counters.get(name);
    if (entry === undefined || amount <= 0) return;
    const { counter, label, limit } = entry;
    counter.inc({ [label]: limit.of(withoutNames(value)) }, amount);
  };
}

function metricName(count: string): string {
  return `crib_${count.replaceAll(/\W/g, "_")}_total`;
}

/** A reason may end with a path, which is a user's. */
function withoutNames(reason: string): string {
  return reason.replace(/[\s"'(]*\/.*$/su, "").slice(0, maxLabelLength);
}

function openInterceptor(
  metrics: MetricSet,
  stepListener: StepListener,
  count: Count,
): Interceptor {
  const duration = metrics.histogram(
    "crib_rpc_duration_seconds",
    "Duration of calls of CRI and of the command line, failed ones too; of streams until their end.",
    ["rpc"],
  );
  const failures = metrics.counter("crib_rpc_failures_total", "Calls that failed, by gRPC code.", [
    "rpc",
    "code",
  ]);
  return (next) => async (request) => {
    const rpc = request.method.name;
    const end = duration.startTimer({ rpc });
    const fail = (err: unknown) => {
      end();
      failures.inc({ rpc, code: Code[ConnectError.from(err).code] ?? "Unknown" });
    };
    listenToSteps(request.contextValues, stepListener);
    request.contextValues.set(countKey, count);
    try {
      const response = await next(request);
      if (!response.stream) {
        end();
        return response;
      }
      const { message } = response;
      async function* messages(): typeof message {
        let isOver = false;
        try {
          yield* message;
          isOver = true;
          end();
        } catch (err) {
          isOver = true;
          fail(err);
          throw err;
        } finally {
          // The client has left.
          if (!isOver) end();
        }
      }
      return { ...response, message: messages() };
    } catch (err) {
      fail(err);
      throw err;
    }
  };
}
