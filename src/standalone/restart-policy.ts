/** With docker's names and meanings. */
export interface RestartPolicy {
  readonly name: "no" | "on-failure" | "always" | "unless-stopped";
  /** Of on-failure; 0 is without limit. */
  readonly maxRetries: number;
}

export interface Ended {
  readonly exitCode: number;
  readonly isStopped: boolean;
  /** By the policy, since a user started it. */
  readonly restarts: number;
}

/** Whether a container that has just ended runs again. What a user has stopped stays down. */
export function restartsAfterExit(policy: RestartPolicy, ended: Ended): boolean {
  if (ended.isStopped) return false;
  switch (policy.name) {
    case "no":
      return false;
    case "on-failure":
      return (
        ended.exitCode !== 0 && (policy.maxRetries === 0 || ended.restarts < policy.maxRetries)
      );
    case "always":
    case "unless-stopped":
      return true;
  }
}

/** Whether a container that does not run is started when the daemon starts, after a reboot for instance. */
export function restartsAtStart(policy: RestartPolicy, ended: Ended): boolean {
  return policy.name === "always" || restartsAfterExit(policy, ended);
}

const [firstDelayMs, longestDelayMs] = [100, 60_000];
/** One that ran so long has not failed in a row with the time before. */
const settledMs = 10_000;

/** How long to wait before the next start: from 100 ms on twice as long each time, up to a minute. */
export function restartDelayMs(previousMs: number | undefined, ranMs: number): number {
  if (previousMs === undefined || ranMs >= settledMs) return firstDelayMs;
  return Math.min(previousMs * 2, longestDelayMs);
}
