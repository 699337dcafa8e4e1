import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { TaskRecord } from "../runtime/runtime.ts";

/** `starting` is an intent on disk: its id has not been returned yet, and a restart undoes it. */
export type SandboxState = "starting" | "ready" | "not-ready";

/** A task that holds a pod's PID namespace, or is the machine that the pod runs in. */
export interface Infra {
  readonly id: ContainerId;
  /** For people and plugins; 0 while it is being started, and after that was cut off. */
  readonly pid: number;
  /** Absent while `pid` is 0, and in records of crib 0.1. */
  readonly task?: TaskRecord | undefined;
  /** The runtime handler that has it; the sandbox's in records of crib 0.1. */
  readonly handler?: string | undefined;
  /** Below the root of the hierarchies; absent where an earlier crib has started it. */
  readonly cgroupPath?: string;
}

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
  /** The pod's own task, where its runtime needs one (`Runtime.sandboxTask`) and it has been begun. */
  readonly infra: Infra | undefined;
  /** Which namespaces were made for it, by kind; absent where an earlier crib has made it. */
  readonly namespaces?: Readonly<Record<string, string>>;
  /** Of a standalone pod. */
  readonly extras?: SandboxExtras | undefined;
}

/** What people give `crib run` and CRI has no field for. */
export interface SandboxExtras {
  /** Further lines of /etc/hosts. */
  readonly hostAliases: readonly { readonly ip: string; readonly name: string }[];
  /** A network namespace with nothing but a loopback interface; or that of another sandbox, with its files at /etc. */
  readonly network?: "none" | { readonly of: SandboxId } | undefined;
}

/** What a pod is resized to. */
export interface SandboxResources {
  /** Absent leaves what is recorded. */
  readonly overhead: pb.LinuxContainerResources | undefined;
  readonly resources: pb.LinuxContainerResources | undefined;
}
