import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ImageId } from "../image/image.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { PodIds } from "../oci/pod-ids.ts";
import type { TaskRecord } from "../runtime/runtime.ts";
import type { ContainerExtras } from "./extras.ts";

/**
 * A container is in exactly one of these; each carries only what is true of it.
 * created → running → exited; a container that never started goes from created to exited when start fails.
 */
export type ContainerState =
  /** `pid` is for people and plugins only (`TaskRecord`). */
  | { readonly name: "created"; readonly pid: number }
  | { readonly name: "running"; readonly pid: number; readonly startedAtNs: bigint }
  | {
      readonly name: "exited";
      readonly startedAtNs: bigint | undefined;
      readonly finishedAtNs: bigint;
      readonly exitCode: number;
      /** What kubelets and people look for: Completed, Error, OOMKilled, StartError, Unknown. */
      readonly reason: "Completed" | "Error" | "OOMKilled" | "StartError" | "Unknown";
      readonly message: string;
    };

/** User and groups that the container's first process runs with. */
export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly supplementalGroups: readonly number[];
}

/** A container as the runtime knows it: what was asked for, what came of it, and its state now. */
export interface Container {
  readonly id: ContainerId;
  readonly sandboxId: SandboxId;
  /** As the client sent it: labels, annotations, mounts and metadata are given back, an image volume's with its image's id. */
  readonly config: pb.ContainerConfig;
  /** Of a standalone pod's. */
  readonly extras?: ContainerExtras | undefined;
  readonly createdAtNs: bigint;
  readonly imageId: ImageId;
  /** Absolute path of the log file; empty when the client asked for none. */
  readonly logPath: string;
  readonly user: ContainerUser;
  /** Of the pod's user namespace, where it has one of its own. */
  readonly ids?: PodIds | undefined;
  /** What the cgroup has now, also after UpdateContainerResources. */
  readonly resources: pb.LinuxContainerResources | undefined;
  readonly stopSignal: number;
  /** Name of the runtime handler; the sandbox's. */
  readonly handler: string;
  /** Where the OCI runtime put it: relative to the controllers' roots. */
  readonly cgroupPath: string;
  /** Boot in which it was created; a container of another boot has no process. */
  readonly bootId: string;
  /** By which the runtime finds its task again. */
  readonly task: TaskRecord;
  readonly state: ContainerState;
}

/** The name of the image that the user wrote: a kubelet sends the image's id as `image` and the name beside it. */
export function nameOfImage(config: Pick<pb.ContainerConfig, "image">): string {
  return config.image?.userSpecifiedImage || (config.image?.image ?? "");
}

/** The images that it needs: its own, and those that are volumes of it. */
export function imagesOf({ imageId, config }: Container): readonly string[] {
  return [imageId, ...config.mounts.flatMap(({ image }) => image?.imageRef || [])];
}
