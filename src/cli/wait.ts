import { setTimeout as sleep } from "node:timers/promises";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { type CriClient, isLostConnection } from "./client.ts";

const pauseMs = 50;

/** How long a daemon may take to come back: one that is replaced takes a second. */
const patienceMs = 25_000;

/** Through a restart of the daemon: a container outlives it, and so does who waits for its end. */
async function patiently<Answer>(call: () => Promise<Answer>): Promise<Answer> {
  const began = Date.now();
  for (;;) {
    try {
      return await call();
    } catch (err) {
      if (!isLostConnection(err) || Date.now() - began > patienceMs) throw err;
      await sleep(pauseMs);
    }
  }
}

/** For `ReadLogOptions.until`: the container does not run any more, or is gone. */
export function hasEnded(
  cri: CriClient,
  containerId: string,
  signal: AbortSignal,
): () => Promise<boolean> {
  return async () => {
    if (signal.aborted) return true;
    const filter = { id: containerId };
    const { containers } = await patiently(() => {
      return cri.runtime.listContainers({ filter }, { signal });
    });
    const state = containers[0]?.state ?? pb.ContainerState.CONTAINER_EXITED;
    return state === pb.ContainerState.CONTAINER_EXITED;
  };
}

/** As a shell shows it, when the container has ended. */
export async function awaitExitCode(
  cri: CriClient,
  containerId: string,
  signal: AbortSignal,
): Promise<number> {
  const until = hasEnded(cri, containerId, signal);
  while (!(await until())) await sleep(pauseMs);
  const { status } = await patiently(() => {
    return cri.runtime.containerStatus({ containerId }, { signal });
  });
  return status === undefined ? 255 : status.exitCode & 0xff;
}
