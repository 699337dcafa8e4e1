import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import { CgroupMountMode } from "../../cri.ts";
import type { SpecHost } from "../host.ts";
import { ownsCgroupNamespace } from "../namespaces.ts";

/**
 * Whether a container may write to the cgroup file system that it sees. A privileged one always may. Throws
 * invalid-argument for modes that contradict the container, failed-precondition for what this node cannot give
 * (CRI CgroupMountMode).
 */
export function isCgroupWritable(
  context: pb.LinuxContainerSecurityContext | undefined,
  host: Pick<SpecHost, "cgroupVersion" | "cgroupDelegation">,
): boolean {
  const privileged = context?.privileged === true;
  const ownsNamespace = ownsCgroupNamespace(context, host);
  const mode = context?.cgroupMountMode ?? CgroupMountMode.unspecified;
  switch (mode) {
    case CgroupMountMode.unspecified:
      return privileged;
    case CgroupMountMode.readOnly:
      if (!privileged) return false;
      throw invalidArgument("cgroup_mount_mode READ_ONLY: a privileged container may write to it");
    case CgroupMountMode.readWrite:
      if (!privileged && !ownsNamespace) {
        throw invalidArgument(
          "cgroup_mount_mode READ_WRITE: the container needs a cgroup namespace of its own",
        );
      }
      if (host.cgroupDelegation) return true;
      throw failedPrecondition(
        "cgroup_mount_mode READ_WRITE: this node has no cgroup v2 mounted with nsdelegate",
      );
    default:
      throw invalidArgument(`cgroup_mount_mode ${mode}`);
  }
}
