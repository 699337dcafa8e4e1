import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PodSandboxSchema } from "../../gen/nri/v1alpha1/api_pb.ts";
import type * as cri from "../../gen/runtime/v1/api_pb.ts";
import { sandboxDirectoryOf } from "../../sandbox/environment/directory.ts";
import { podNamespaces } from "../../sandbox/environment/namespaces.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import { compact } from "./compact.ts";
import { fromCriResources } from "./cri-resources.ts";

export type PodMessage = MessageInitShape<typeof PodSandboxSchema>;

/** A pod as plugins see it. Its namespaces are where they are pinned. */
export function toPodMessage(stateDir: string, sandbox: Sandbox): PodMessage {
  const { id, config, handler, infra, ips } = sandbox;
  const { name = "", uid = "", namespace = "" } = config.metadata ?? {};
  return {
    id,
    name,
    uid,
    namespace,
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: handler,
    pid: infra?.pid ?? 0,
    ips: [...ips],
    linux: compact({
      cgroupParent: config.linux?.cgroupParent ?? "",
      podOverhead: limits(config.linux?.overhead),
      podResources: limits(config.linux?.resources),
      namespaces: pinned(stateDir, sandbox),
    }),
  };
}

function limits(resources: cri.LinuxContainerResources | undefined) {
  return resources === undefined ? undefined : fromCriResources(resources);
}

function pinned(stateDir: string, { id, config }: Sandbox) {
  const { namespaces: dir, netns } = sandboxDirectoryOf(stateDir, id);
  const own = podNamespaces(config);
  return [
    ...(own.net ? [{ type: "network", path: netns }] : []),
    ...(own.ipc ? [{ type: "ipc", path: `${dir}/ipc` }] : []),
    ...(own.uts ? [{ type: "uts", path: `${dir}/uts` }] : []),
    ...(own.ids === undefined ? [] : [{ type: "user", path: `${dir}/user` }]),
  ];
}
