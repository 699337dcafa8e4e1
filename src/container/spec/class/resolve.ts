import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import type { SpecHost } from "../host.ts";
import type { ResourceClasses } from "../input.ts";
import { blockIoKeys, classOf, rdtKeys } from "./annotation.ts";
import { blockIoOf } from "./block-io.ts";
import { rdtClass } from "./rdt.ts";

/** The classes of a container. One that is asked for and cannot be had is an error, never "no limit". */
export function resolveClasses(
  config: Pick<pb.ContainerConfig, "metadata" | "annotations">,
  pod: Pick<pb.PodSandboxConfig, "annotations">,
  host: Pick<SpecHost, "blockIoClasses">,
): ResourceClasses {
  const container = { name: config.metadata?.name ?? "", annotations: config.annotations };
  const blockIo = classOf(blockIoKeys, container, pod.annotations);
  const rdt = classOf(rdtKeys, container, pod.annotations);
  return {
    ...(blockIo === undefined ? {} : { blockIO: blockIoOf(host.blockIoClasses, blockIo) }),
    ...(rdt === undefined ? {} : { intelRdt: rdtClass(rdt) }),
  };
}
