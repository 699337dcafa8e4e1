import { NamespaceMode } from "../../container/cri.ts";
import { podIdsOf } from "../../container/spec/user-namespace.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import { type NamespaceKind, namespaceKinds } from "../../network/namespace/sysctl.ts";
import type { PodIds } from "../../oci/pod-ids.ts";

/** Which namespaces a pod has for itself. PID is not among them: it belongs to containers, or to the infra container. */
export interface PodNamespaces {
  readonly net: boolean;
  readonly ipc: boolean;
  /** A pod in the node's network has the node's host name too. */
  readonly uts: boolean;
  /** Its containers see each other's processes. */
  readonly sharedPid: boolean;
  /** Of its user namespace, which the others belong to; absent with the node's. */
  readonly ids: PodIds | undefined;
}

/** Those that are pinned for the sandbox when it is made. */
export function pinnedKinds(namespaces: PodNamespaces): readonly NamespaceKind[] {
  return namespaceKinds.filter((kind) => namespaces[kind]);
}

/** Reads the namespace options of a sandbox; POD is what an absent field means. */
export function podNamespaces(config: pb.PodSandboxConfig): PodNamespaces {
  const { pod: POD, node: NODE, target: TARGET } = NamespaceMode;
  const options = config.linux?.securityContext?.namespaceOptions;
  const { network = POD, ipc = POD, pid = POD } = options ?? {};
  if (network !== POD && network !== NODE)
    throw invalidArgument("network namespace must be POD or NODE");
  if (ipc !== POD && ipc !== NODE) throw invalidArgument("ipc namespace must be POD or NODE");
  if (pid === TARGET) throw invalidArgument("a sandbox has no TARGET pid namespace");
  const ids = podIdsOf(options?.usernsOptions);
  if (ids !== undefined && (ipc === NODE || pid === NODE)) {
    throw invalidArgument("a user namespace needs ipc and pid namespaces that belong to it");
  }
  const own = network === POD;
  return { net: own, ipc: ipc === POD, uts: own, sharedPid: pid === POD, ids };
}
