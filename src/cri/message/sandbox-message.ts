import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { SandboxDetails } from "../../sandbox/inspect.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import { toGoJson } from "./go-json.ts";

/** An entry of ListPodSandbox. */
export function toSandboxItem(sandbox: Sandbox): MessageInitShape<typeof pb.PodSandboxSchema> {
  return { ...common(sandbox) };
}

export function toSandboxStatus(
  sandbox: Sandbox,
): MessageInitShape<typeof pb.PodSandboxStatusSchema> {
  const options = namespaceOptions(sandbox);
  const [ip = "", ...others] = sandbox.ips;
  // A pod in the node's network has no address of its own; the kubelet uses the node's.
  const network =
    options.network === pb.NamespaceMode.NODE
      ? {}
      : { network: { ip, additionalIps: others.map((other) => ({ ip: other })) } };
  return { ...common(sandbox), ...network, linux: { namespaces: { options } } };
}

/** What `crictl inspectp` shows beyond the status; JSON, for people and tools, with the names that containerd has. */
export function sandboxInfo(
  sandbox: Sandbox,
  { netns, runtimeSpec }: SandboxDetails,
): Record<string, string> {
  const { overhead, resources } = sandbox.config.linux ?? {};
  const info = {
    pid: sandbox.infra?.pid ?? 0,
    infraContainer: sandbox.infra?.id ?? "",
    runtimeHandler: sandbox.handler,
    bootId: sandbox.bootId,
    networkAttached: sandbox.networkAttached,
    cgroupParent: sandbox.config.linux?.cgroupParent ?? "",
    logDirectory: sandbox.config.logDirectory,
    overhead: overhead && toJson(pb.LinuxContainerResourcesSchema, overhead),
    resources: resources && toJson(pb.LinuxContainerResourcesSchema, resources),
    image: "",
    sandboxMetadata: { ID: sandbox.id, NetNSPath: netns ?? "", RuntimeHandler: sandbox.handler },
    cniResult: netns === undefined ? undefined : cniResult(sandbox),
    config: toGoJson(pb.PodSandboxConfigSchema, sandbox.config),
    runtimeSpec,
  };
  return { info: JSON.stringify(info) };
}

/** Where containerd's clients look for a pod's addresses. */
function cniResult({ ips }: Sandbox) {
  return { Interfaces: { eth0: { IPConfigs: ips.map((ip) => ({ IP: ip })) } } };
}

function common(sandbox: Sandbox) {
  const { config } = sandbox;
  return {
    id: sandbox.id,
    // Absent metadata makes the kubelet panic; requests without it are refused.
    metadata: config.metadata ?? create(pb.PodSandboxMetadataSchema),
    state: sandboxState(sandbox),
    createdAt: sandbox.createdAtNs,
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: sandbox.handler,
  };
}

export function sandboxState(sandbox: Sandbox): pb.PodSandboxState {
  return sandbox.state === "ready"
    ? pb.PodSandboxState.SANDBOX_READY
    : pb.PodSandboxState.SANDBOX_NOTREADY;
}

function namespaceOptions(sandbox: Sandbox): pb.NamespaceOption {
  const asked = sandbox.config.linux?.securityContext?.namespaceOptions;
  return asked ?? create(pb.NamespaceOptionSchema);
}
