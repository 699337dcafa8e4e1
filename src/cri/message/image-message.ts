import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ImageUser } from "../../container/user/image-user.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Image } from "../../image/image.ts";
import type { DiskUsage } from "../deps.ts";

export function toImageMessage(
  image: Image,
  { user, pinned }: { readonly user: ImageUser | undefined; readonly pinned: boolean },
): MessageInitShape<typeof pb.ImageSchema> {
  return {
    id: image.id,
    repoTags: [...image.repoTags],
    repoDigests: [...image.repoDigests],
    // The kubelet takes an image of size 0 for an error.
    size: BigInt(Math.max(1, image.sizeBytes)),
    spec: { image: image.id },
    pinned,
    ...toUser(user),
  };
}

/** What `crictl inspecti` shows beyond the status. */
export function imageInfo(image: Image): Record<string, string> {
  const { config, artifactType } = image;
  if (artifactType !== undefined) return { info: JSON.stringify({ artifactType }) };
  const imageSpec = {
    created: config.created,
    architecture: config.architecture,
    os: config.os,
    config: {
      User: config.user,
      Env: config.env,
      Entrypoint: config.entrypoint,
      Cmd: config.cmd,
      WorkingDir: config.workingDir,
      StopSignal: config.stopSignal,
      Labels: config.labels,
      Volumes: Object.fromEntries(config.volumes.map((path) => [path, {}])),
      ExposedPorts: Object.fromEntries(config.exposedPorts.map((port) => [port, {}])),
    },
    rootfs: { type: "layers", diff_ids: image.diffIds },
  };
  return { info: JSON.stringify({ imageSpec }) };
}

export function toFilesystemUsage(
  usage: DiskUsage,
  timestamp: bigint,
): MessageInitShape<typeof pb.FilesystemUsageSchema> {
  return {
    timestamp,
    fsId: { mountpoint: usage.mountpoint },
    usedBytes: { value: BigInt(usage.usedBytes) },
    inodesUsed: { value: BigInt(usage.inodes) },
  };
}

function toUser(user: ImageUser | undefined) {
  if (user === undefined) return {};
  return "uid" in user ? { uid: { value: BigInt(user.uid) } } : { username: user.username };
}
