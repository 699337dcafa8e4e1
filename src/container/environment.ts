import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { SandboxId } from "../lib/id.ts";
import type { UserNamespace } from "../oci/pod-ids.ts";

/** What a container finds in its sandbox. An absent namespace is the node's own. */
export interface SandboxEnvironment {
  readonly sandboxId: SandboxId;
  /** Whether the sandbox can still take a container: it may be stopped while one is being created. */
  readonly isReady: () => boolean;
  readonly config: pb.PodSandboxConfig;
  readonly handler: string;
  readonly netns: string | undefined;
  readonly ipcns: string | undefined;
  readonly utsns: string | undefined;
  /** The pod's own, which the other namespaces belong to. */
  readonly userNamespace: UserNamespace | undefined;
  /** The pod's shared PID namespace, where the container joins it. */
  readonly podPidns: string | undefined;
  /** That of another container, where the container joins it (NamespaceMode TARGET). */
  readonly targetPidns: string | undefined;
  readonly hostname: string;
  readonly hostnamePath: string;
  readonly hostsPath: string;
  readonly resolvConfPath: string;
  /** A file that says which of the node's network interfaces came to the pod. */
  readonly netDevicesPath: string;
  /** The pod's shared /dev/shm; absent with the node's ipc namespace. */
  readonly shmPath: string | undefined;
}
