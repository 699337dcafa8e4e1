import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { SpecNamespace } from "../../oci/runtime-spec.ts";
import { NamespaceMode } from "../cri.ts";
import type { SandboxEnvironment } from "../environment.ts";
import type { SpecHost } from "./host.ts";

type Joined = "netns" | "ipcns" | "utsns" | "userNamespace";

/**
 * User, network, IPC and UTS namespaces are the sandbox's, whatever the container's options say; where it has none pinned,
 * the pod uses the node's. The PID namespace is the container's choice. On cgroup v2 an unprivileged container sees
 * its own cgroup as the root.
 */
export function specNamespaces(
  securityContext: pb.LinuxContainerSecurityContext | undefined,
  environment: Pick<SandboxEnvironment, Joined | "podPidns" | "targetPidns" | "config">,
  host: Pick<SpecHost, "cgroupVersion">,
): readonly SpecNamespace[] {
  const pidMode = pidModeOf(securityContext, environment.config);
  return [
    { type: "mount" },
    ...pidNamespace(pidMode, environment),
    ...podNamespaces(environment),
    ...(ownsCgroupNamespace(securityContext, host) ? [{ type: "cgroup" } as const] : []),
  ];
}

/**
 * Whether the container sees its own cgroup as the root: as it asks, else on cgroup v2 unless it is privileged. Throws
 * invalid-argument for modes that CRI rules out (CgroupNamespace).
 */
export function ownsCgroupNamespace(
  securityContext: pb.LinuxContainerSecurityContext | undefined,
  host: Pick<SpecHost, "cgroupVersion">,
): boolean {
  const asked = securityContext?.namespaceOptions?.cgroupnsOptions;
  if (asked === undefined) {
    return host.cgroupVersion === 2 && securityContext?.privileged !== true;
  }
  switch (asked.mode) {
    case NamespaceMode.container:
      return true;
    case NamespaceMode.node:
      return false;
    default:
      throw invalidArgument(`cgroupns_options.mode ${asked.mode}: neither CONTAINER nor NODE`);
  }
}

/** POD is what an absent field means, and in a pod that has the node's PID namespace it is the node's. */
export function pidModeOf(
  securityContext: pb.LinuxContainerSecurityContext | undefined,
  pod: pb.PodSandboxConfig,
): pb.NamespaceMode {
  const mode = securityContext?.namespaceOptions?.pid ?? NamespaceMode.pod;
  const ofPod = pod.linux?.securityContext?.namespaceOptions?.pid;
  return mode === NamespaceMode.pod && ofPod === NamespaceMode.node ? ofPod : mode;
}

export function podNamespaces(
  environment: Pick<SandboxEnvironment, Joined>,
): readonly SpecNamespace[] {
  return [
    ...joined("user", environment.userNamespace?.path),
    ...joined("network", environment.netns),
    ...joined("ipc", environment.ipcns),
    ...joined("uts", environment.utsns),
  ];
}

function joined(type: SpecNamespace["type"], path: string | undefined): readonly SpecNamespace[] {
  return path === undefined ? [] : [{ type, path }];
}

function pidNamespace(
  mode: pb.NamespaceMode,
  environment: Pick<SandboxEnvironment, "podPidns" | "targetPidns">,
): readonly SpecNamespace[] {
  switch (mode) {
    case NamespaceMode.node:
      return [];
    case NamespaceMode.container:
      return [{ type: "pid" }];
    case NamespaceMode.pod:
      return [joinedPid(environment.podPidns, "the pod's first process")];
    case NamespaceMode.target:
      return [joinedPid(environment.targetPidns, "the target container")];
    default:
      throw invalidArgument(`PID namespace mode ${mode}`);
  }
}

function joinedPid(path: string | undefined, whose: string): SpecNamespace {
  if (path === undefined) {
    throw failedPrecondition(`no PID namespace to join: ${whose} does not run`);
  }
  return { type: "pid", path };
}
