import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { CriClient } from "./client.ts";
import type { CommandEnv } from "./command.ts";
import { type ReadLogOptions, readLog } from "./log-file.ts";

/** Writes a container's log as the container wrote it: its stdout to stdout, its stderr to stderr. */
export async function printLog(
  env: CommandEnv,
  path: string,
  options: ReadLogOptions & { readonly timestamps?: boolean },
): Promise<void> {
  const isInside = { stdout: false, stderr: false };
  for await (const { stream, isPartial, content, time } of readLog(path, options)) {
    const stamp = options.timestamps && !isInside[stream] ? `${time} ` : "";
    const bytes = Buffer.concat([Buffer.from(stamp), content, Buffer.from(isPartial ? "" : "\n")]);
    if (stream === "stdout") env.out.write(bytes);
    else env.out.writeError(bytes);
    isInside[stream] = isPartial;
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
    const { containers } = await cri.runtime.listContainers({ filter }, { signal });
    const state = containers[0]?.state ?? pb.ContainerState.CONTAINER_EXITED;
    return state === pb.ContainerState.CONTAINER_EXITED;
  };
}
