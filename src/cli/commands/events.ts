import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { AppError } from "../../lib/errors.ts";
import { implementCommand } from "../command.ts";
import { shortId } from "../output/format.ts";
import { protoJson, wantsJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";

const names: Readonly<Record<pb.ContainerEventType, string>> = {
  [pb.ContainerEventType.CONTAINER_CREATED_EVENT]: "created",
  [pb.ContainerEventType.CONTAINER_STARTED_EVENT]: "started",
  [pb.ContainerEventType.CONTAINER_STOPPED_EVENT]: "stopped",
  [pb.ContainerEventType.CONTAINER_DELETED_EVENT]: "deleted",
};

export const events = implementCommand("events", async (env, { output }): Promise<never> => {
  const asJson = wantsJson(output);
  using cri = env.connect();
  const { signal } = env.ctx;
  for await (const event of cri.runtime.getContainerEvents({}, { signal })) {
    const line = asJson
      ? JSON.stringify(protoJson(pb.ContainerEventResponseSchema, event))
      : formatEvent(event);
    env.out.write(`${line}\n`);
  }
  throw new AppError("the daemon has stopped", { kind: "unavailable" });
});

function formatEvent(event: pb.ContainerEventResponse): string {
  const { containerId, containerEventType, createdAt, podSandboxStatus: pod } = event;
  const time = new Date(Number(createdAt / 1_000_000n)).toISOString();
  const container = event.containersStatuses.find(({ id }) => id === containerId);
  const isPod = containerId === pod?.id;
  const name = isPod ? pod.metadata?.name : container?.metadata?.name;
  const podName = pod === undefined ? "-" : `${pod.metadata?.namespace}/${pod.metadata?.name}`;
  const isStopped = containerEventType === pb.ContainerEventType.CONTAINER_STOPPED_EVENT;
  return [
    time,
    names[containerEventType] ?? "unknown",
    (isPod ? "pod" : "container").padEnd("container".length),
    shortId(containerId),
    plain(name ?? "-"),
    plain(podName),
    ...(isStopped && container !== undefined ? [formatEnd(container)] : []),
  ].join("  ");
}

function formatEnd({ exitCode, reason }: pb.ContainerStatus): string {
  const why = reason === "" || reason === "Completed" || reason === "Error" ? "" : ` ${reason}`;
  return plain(`exit code ${exitCode}${why}`);
}
