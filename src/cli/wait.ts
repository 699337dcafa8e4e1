import { setTimeout as sleep } from "node:timers/promises";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { CriClient } from "./client.ts";

const pauseMs = 50;

/** For `ReadLogOptions.until`: the container does not run any more, or is gone. */
export function hasEnded(
  cri: CriClient,
  containerId: string,
  signal: AbortSignal,
): () => Promise<boolean> {
  return async () => {
    if (signal.aborted) return true;
    const filter = { id: containerId };
    const { containers } = await cri.runtime.listContainers({ filter }, { signal });
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
  const { status } = await cri.runtime.containerStatus({ containerId }, { signal });
  return status === undefined ? 255 : status.exitCode & 0xff;
}
