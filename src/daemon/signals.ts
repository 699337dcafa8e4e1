import type { Activity } from "../admin/deps.ts";
import type { CallsInProgress } from "../cri/call/calls-in-progress.ts";
import type { Log } from "../lib/log.ts";
import type { OpenedDomain } from "./graph/domain.ts";

const dumpSignals = ["SIGUSR1", "SIGUSR2"] as const;

/** Resolves with the name of the signal that ends the daemon; from now on no other ends it that can be taken. */
export function stopSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve(signal));
  // Whoever started us may hang up; the log then loses lines (log-sink.ts), and nothing else happens.
  for (const signal of ["SIGHUP", ...dumpSignals] as const) process.on(signal, () => {});
  return promise;
}

/** SIGHUP reads the configuration again; what is wrong with it is in the log. */
export function reloadOnSignal(reload: () => Promise<unknown>): void {
  process.on("SIGHUP", () => void reload().catch(() => {}));
}

/** SIGUSR1 and SIGUSR2 write to the log what is in progress. */
export function dumpOnSignal(
  log: Log,
  parts: Pick<OpenedDomain, "deps" | "monitors"> & { readonly calls: CallsInProgress },
): void {
  for (const signal of dumpSignals) process.on(signal, () => dump(log.with({ signal }), parts));
}

/** What the daemon is doing, and how much of it. */
export function activityOf({
  calls,
  deps,
  monitors,
}: Parameters<typeof dumpOnSignal>[1]): Activity {
  const inProgress = calls.list();
  const intents = deps.intents.list();
  const { rss, heapUsed } = process.memoryUsage();
  const counts = {
    calls: inProgress.length,
    creations: intents.length,
    sandboxes: deps.sandboxes.list().length,
    containers: deps.containers.list().length,
    monitored: monitors.list().size,
    sandbox_locks: deps.sandboxLocks.size,
    container_locks: deps.locks.size,
    event_subscribers: deps.events.subscribers,
    rss_bytes: rss,
    heap_bytes: heapUsed,
    uptime_s: Math.round(process.uptime()),
  };
  const creations = intents.map(({ id, sandboxId }) => ({ container: id, sandbox: sandboxId }));
  return { counts, calls: inProgress, background: calls.listBackground(), creations };
}

function dump(log: Log, parts: Parameters<typeof dumpOnSignal>[1]): void {
  const { counts, calls, background, creations } = activityOf(parts);
  log.info("daemon state", counts);
  for (const { rpc, subject, ageMs, steps } of calls) {
    log.info("call in progress", { ...subject, rpc, age_ms: ageMs });
    for (const { name, attributes, ...step } of steps) {
      log.info("step in progress", {
        ...subject,
        ...attributes,
        rpc,
        step: name,
        age_ms: step.ageMs,
      });
    }
  }
  for (const { name, attributes, ageMs } of background) {
    log.info("step in progress", { ...attributes, step: name, age_ms: ageMs });
  }
  for (const creation of creations) log.info("creation in progress", creation);
}
