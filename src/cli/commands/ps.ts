import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { findPod } from "../find.ts";
import { parseLabels } from "../labels.ts";
import { shortId } from "../output/format.ts";
import { writeNewestFirst } from "../output/newest-first.ts";
import { plain } from "../output/output.ts";
import { pausedIds } from "../paused.ts";

const stateNames: Readonly<Record<pb.ContainerState, string>> = {
  [pb.ContainerState.CONTAINER_CREATED]: "created",
  [pb.ContainerState.CONTAINER_RUNNING]: "running",
  [pb.ContainerState.CONTAINER_EXITED]: "exited",
  [pb.ContainerState.CONTAINER_UNKNOWN]: "unknown",
};

export const ps = implementCommand("ps", async (env, options) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  const state = { state: pb.ContainerState.CONTAINER_RUNNING };
  const filter = {
    ...(options.all ? {} : { state }),
    ...(options.pod !== undefined && { podSandboxId: await podId(cri, options.pod, signal) }),
    labelSelector: parseLabels(options.label),
  };
  const [{ containers }, { items: pods }, paused] = await Promise.all([
    cri.runtime.listContainers({ filter }, { signal }),
    cri.runtime.listPodSandbox({}, { signal }),
    pausedIds(cri, signal),
  ]);
  const podNames = new Map(pods.map((pod) => [pod.id, pod.metadata?.name ?? ""]));
  writeNewestFirst(env, options, {
    items: containers,
    schema: pb.ListContainersResponseSchema,
    message: (sorted) => create(pb.ListContainersResponseSchema, { containers: sorted }),
    header: ["CONTAINER", "NAME", "POD", "IMAGE", "STATE"],
    row: (container) => [
      container.metadata?.name ?? "",
      podNames.get(container.podSandboxId) ?? shortId(container.podSandboxId),
      imageName(container),
      paused.has(container.id) ? "paused" : (stateNames[container.state] ?? "unknown"),
    ],
  });
  return exitCodes.ok;
});

async function podId(cri: CriClient, key: string, signal: AbortSignal): Promise<string> {
  const pod = await findPod(cri, key, signal);
  if (pod === undefined) throw notFound(`no pod "${plain(key)}"`);
  return pod.id;
}

/** What the user wrote, or else what the container was made from. */
function imageName({ image, imageRef }: pb.Container): string {
  const name = image?.userSpecifiedImage || image?.image || imageRef;
  return /^(sha256:)?[0-9a-f]{64}$/.test(name) ? shortId(name) : name;
}
