import { setTimeout as sleep } from "node:timers/promises";
import type { CriClient } from "../client.ts";
import { failureKind } from "../failure.ts";

/**
 * A pod with --rm belongs to this process: when it ends in whichever way, SIGKILL included, the daemon sees the stream
 * end, stops the container and removes the pod.
 */
export interface Attendance extends Disposable {
  /** The pod goes on without this process. */
  leave(): Promise<void>;
}

const pauseMs = 200;
/** Less than the daemon waits for it. */
const patienceMs = 25_000;

/** Keeps the attendance that `responses` has begun, through restarts of the daemon. `over` ends the stream. */
export function keepAttending(
  cri: CriClient,
  podSandboxId: string,
  responses: AsyncIterator<unknown>,
  over: AbortController,
): Attendance {
  const { signal } = over;
  const attend = async () => {
    let current = responses;
    let lostAt = Number.POSITIVE_INFINITY;
    while (!signal.aborted && Date.now() - lostAt < patienceMs) {
      try {
        while ((await current.next()).done !== true) lostAt = Number.POSITIVE_INFINITY;
        return;
      } catch (err) {
        if (failureKind(err) === "not-found") return; // it has been removed
        lostAt = Math.min(lostAt, Date.now());
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
      current = cri.admin.attendPod({ podSandboxId }, { signal })[Symbol.asyncIterator]();
    }
  };
  void attend();
  return {
    async leave() {
      await cri.admin.leavePod({ podSandboxId });
      over.abort();
    },
    [Symbol.dispose]: () => over.abort(),
  };
}
