import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Container, type ContainerState, nameOfImage } from "../../container/container.ts";
import { toCriSignal } from "../../container/stop-signal.ts";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Image } from "../../image/image.ts";
import { shownImageName } from "../../image/image-name.ts";
import { toGoJson } from "./go-json.ts";

/** An entry of ListContainers. `image` is the container's, where it is still there. */
export function toContainerItem(
  container: Container,
  image: Image | undefined,
): MessageInitShape<typeof pb.ContainerSchema> {
  return { ...common(container, image), podSandboxId: container.sandboxId };
}

export function toContainerStatus(
  container: Container,
  image: Image | undefined,
): MessageInitShape<typeof pb.ContainerStatusSchema> {
  const { config, user } = container;
  return {
    ...common(container, image),
    ...outcome(container.state),
    // The kubelet finds its termination log by looking through them: exactly what it sent, nothing of ours.
    mounts: config.mounts,
    logPath: container.logPath,
    user: {
      linux: {
        uid: BigInt(user.uid),
        gid: BigInt(user.gid),
        supplementalGroups: user.supplementalGroups.map(BigInt),
      },
    },
    stopSignal: toCriSignal(container.stopSignal),
    ...(container.resources === undefined ? {} : { resources: { linux: container.resources } }),
  };
}

/**
 * Of the containers of one pod, the newest first: a kubelet with EventedPLEG takes the first of a name for the one that
 * counts, and would make an attempt again that there was already.
 */
export function toContainerStatuses(
  containers: readonly Container[],
  findImage: (id: Container["imageId"]) => Image | undefined,
): readonly MessageInitShape<typeof pb.ContainerStatusSchema>[] {
  return containers
    .toSorted((a, b) => (a.createdAtNs < b.createdAtNs ? 1 : -1))
    .map((container) => toContainerStatus(container, findImage(container.imageId)));
}

/**
 * What `crictl inspect` shows beyond the status; JSON, for people and tools, with the names that containerd has.
 * `spec` is the container's config.json, absent after a reboot.
 */
export function containerInfo(container: Container, spec: unknown): Record<string, string> {
  const info = {
    sandboxID: container.sandboxId,
    pid: container.state.name === "exited" ? 0 : container.state.pid,
    runtimeHandler: container.handler,
    cgroupPath: container.cgroupPath,
    task: container.task,
    stdin: container.config.stdin,
    tty: container.config.tty,
    bootId: container.bootId,
    snapshotKey: container.id,
    privileged: container.config.linux?.securityContext?.privileged === true,
    config: toGoJson(pb.ContainerConfigSchema, container.config),
    runtimeSpec: spec,
  };
  return { info: JSON.stringify(info) };
}

function common(container: Container, image: Image | undefined) {
  const { config } = container;
  return {
    id: container.id,
    metadata: config.metadata ?? create(pb.ContainerMetadataSchema),
    state: containerState(container),
    createdAt: container.createdAtNs,
    image: imageSpec(config, image),
    imageRef:
      image === undefined ? container.imageId : digestedReference(image, nameOfImage(config)),
    imageId: container.imageId,
    labels: config.labels,
    annotations: config.annotations,
  };
}

const states = {
  created: pb.ContainerState.CONTAINER_CREATED,
  running: pb.ContainerState.CONTAINER_RUNNING,
  exited: pb.ContainerState.CONTAINER_EXITED,
} as const satisfies Record<ContainerState["name"], pb.ContainerState>;

export function containerState(container: Container): pb.ContainerState {
  return states[container.state.name];
}

function outcome(state: ContainerState) {
  switch (state.name) {
    case "created":
      return {};
    case "running":
      return { startedAt: state.startedAtNs };
    case "exited":
      return {
        startedAt: state.startedAtNs ?? 0n,
        finishedAt: state.finishedAtNs,
        exitCode: state.exitCode,
        reason: state.reason,
        message: state.message,
      };
  }
}

function imageSpec(
  config: pb.ContainerConfig,
  image: Image | undefined,
): MessageInitShape<typeof pb.ImageSpecSchema> {
  const { annotations = {}, userSpecifiedImage = "", runtimeHandler = "" } = config.image ?? {};
  return {
    image: shownImageName(image, nameOfImage(config)),
    annotations,
    userSpecifiedImage,
    runtimeHandler,
  };
}

/**
 * `repository@digest`, of the repository that the user named if the image came from several; kubectl shows it as
 * imageID. The image's id where it came from no registry.
 */
function digestedReference(image: Image, name: string): string {
  const repository = name.replace(/@.*$/, "").replace(/:[^:/]*$/, "");
  const named = image.repoDigests.find((reference) => {
    const [from = ""] = reference.split("@", 1);
    return from === repository || from.endsWith(`/${repository}`);
  });
  return named ?? image.repoDigests[0] ?? image.id;
}
