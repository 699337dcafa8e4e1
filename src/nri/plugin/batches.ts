import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { maxFrameBytes } from "../../ttrpc/frame.ts";
import type { NriDomain } from "../domain.ts";
import { toContainerMessage } from "../message/container.ts";
import { toPodMessage } from "../message/pod.ts";
import { viewOf } from "../views.ts";

type Batch = MessageInitShape<typeof nri.SynchronizeRequestSchema>;

/** Leaves room for the request around it. */
const maxBatchBytes = maxFrameBytes - 64 * 1024;
/** Tag and length of a message in a list. */
const entryBytes = 8;

/** All that plugins may know of, in messages that are small enough: pods that are there, containers that have not ended. */
export function batches(domain: NriDomain, maxBytes = maxBatchBytes): readonly Batch[] {
  let batch = { pods: [] as nri.PodSandbox[], containers: [] as nri.Container[] };
  const all = [batch];
  let size = 0;
  const withRoom = (bytes: number) => {
    if (size > 0 && size + bytes + entryBytes > maxBytes) {
      batch = { pods: [], containers: [] };
      all.push(batch);
      size = 0;
    }
    size += bytes + entryBytes;
    return batch;
  };
  for (const sandbox of domain.listSandboxes()) {
    if (sandbox.state === "starting") continue;
    const pod = create(nri.PodSandboxSchema, toPodMessage(domain.stateDir, sandbox));
    withRoom(toBinary(nri.PodSandboxSchema, pod).byteLength).pods.push(pod);
  }
  for (const container of domain.listContainers()) {
    if (container.state.name === "exited") continue;
    const message = create(nri.ContainerSchema, toContainerMessage(viewOf(domain, container)));
    withRoom(toBinary(nri.ContainerSchema, message).byteLength).containers.push(message);
  }
  return all;
}
