import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";

/** `starting` is an intent on disk: nobody has been told of the sandbox, and a restart undoes it. */
export type SandboxState = "starting" | "ready" | "not-ready";

/** The shared environment of a pod (CRI PodSandbox): namespaces, network, cgroup parent, files. */
export interface Sandbox {
  readonly id: SandboxId;
  /** As the client sent it: labels, annotations and metadata are given back unchanged. */
  readonly config: pb.PodSandboxConfig;
  /** Name of the runtime handler, "" for the default. */
  readonly handler: string;
  readonly createdAtNs: bigint;
  readonly bootId: string;
  readonly state: SandboxState;
  /** First is the primary one; empty for the node's network, and while none is known. Kept after stop. */
  readonly ips: readonly string[];
  /** CNI ADD was begun and DEL has not succeeded yet. */
  readonly networkAttached: boolean;
  /** The process that holds the pod's PID namespace, where the pod shares one and it has been started. */
  readonly infra: { readonly id: ContainerId; readonly pid: number } | undefined;
}
