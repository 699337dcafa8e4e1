import { fstatSync, mkdirSync, readlinkSync } from "node:fs";
import { type Bundle, bundleOf, imageVolumeOf, listImageVolumes } from "../../bundle/bundle.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { ImageId } from "../../image/image.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, invalidArgument, kindOf, notFound } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import type { UserNamespace } from "../../oci/pod-ids.ts";
import { isErrno } from "../../os/errno-error.ts";
import { openPathInRoot } from "../../os/file/open-in-root.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import type { ContainerDeps } from "../deps.ts";

/** An image, or a part of it, mounted on the node to become a mount of a container. */
export interface ImageVolume {
  readonly imageId: ImageId;
  /** Absolute and free of links. */
  readonly source: string;
}

export type ImageVolumes = ReadonlyMap<pb.Mount, ImageVolume>;

type Deps = Pick<ContainerDeps, "images" | "snapshots">;

/**
 * Mounts the images that a container wants as volumes, read-only and in the ids of its pod. What a failure leaves is
 * undone with the container. Their layers stay until then, even when the images are removed.
 */
export async function mountImageVolumes(
  ctx: Context,
  deps: Deps,
  container: { readonly id: ContainerId; readonly bundle: Bundle },
  mounts: readonly pb.Mount[],
  userNamespace: UserNamespace | undefined,
): Promise<ImageVolumes> {
  const volumes = new Map<pb.Mount, ImageVolume>();
  for (const mount of mounts) {
    if (mount.image === undefined) continue;
    const target = imageVolumeOf(container.bundle, volumes.size);
    const view = viewOf(container.id, volumes.size);
    try {
      const image = checkVolume(deps, mount, mount.image);
      mkdirSync(target, { recursive: true, mode: 0o711 });
      await deps.snapshots.prepareView(ctx, view, image.chain);
      await deps.snapshots.mount(ctx, view, target, { userNamespace });
      const source = resolveSubPath(target, mount.imageSubPath);
      volumes.set(mount, { imageId: image.id, source });
    } catch (cause) {
      throw new AppError(`image volume at ${JSON.stringify(mount.containerPath.slice(0, 200))}`, {
        kind: kindOf(cause),
        reason: "ImageVolumeMountFailed",
        cause,
      });
    }
  }
  return volumes;
}

/** Idempotent. */
export async function unmountImageVolumes(
  ctx: Context,
  deps: Pick<Deps, "snapshots"> & Pick<ContainerDeps, "stateDir">,
  id: ContainerId,
): Promise<void> {
  for (const target of listImageVolumes(bundleOf(deps.stateDir, id))) {
    await deps.snapshots.unmount(ctx, target);
  }
}

/** Idempotent: gives back the layers of volumes that are not mounted any more. */
export async function removeImageVolumes(
  ctx: Context,
  deps: Pick<Deps, "snapshots">,
  id: ContainerId,
): Promise<void> {
  const views = deps.snapshots.list().filter((name) => name.startsWith(viewOf(id, "")));
  for (const view of views) await deps.snapshots.remove(ctx, view);
}

/** The mounts as ContainerStatus shows them: with the image that each one is. */
export function withImageRefs(
  mounts: readonly pb.Mount[],
  volumes: ImageVolumes,
): readonly pb.Mount[] {
  return mounts.map((mount) => {
    const volume = volumes.get(mount);
    if (volume === undefined || mount.image === undefined) return mount;
    return { ...mount, image: { ...mount.image, imageRef: volume.imageId } };
  });
}

function checkVolume(deps: Pick<Deps, "images">, mount: pb.Mount, spec: pb.ImageSpec) {
  if (!mount.readonly) throw invalidArgument("it is not read-only");
  if (mount.propagation !== 0) throw invalidArgument("it has a propagation");
  const image = deps.images.find(spec.image);
  if (image !== undefined) return image;
  throw notFound(`image ${JSON.stringify(spec.image.slice(0, 300))} not found`);
}

/** Links are followed inside of the image only. What is found stays what it is, since nobody can write to it. */
function resolveSubPath(root: string, subPath: string): string {
  if (subPath === "") return root;
  using found = openSubPath(root, subPath);
  const status = fstatSync(found.fd);
  if (!status.isDirectory() && !status.isFile()) {
    throw invalidArgument(`sub path ${JSON.stringify(subPath.slice(0, 200))} is a special file`);
  }
  const path = readlinkSync(`/proc/self/fd/${found.fd}`);
  if (path === root || path.startsWith(`${root}/`)) return path;
  throw new AppError(`sub path leads to ${path}`, { kind: "internal" });
}

function openSubPath(root: string, subPath: string): OwnedFd {
  try {
    return openPathInRoot(root, subPath);
  } catch (cause) {
    if (!isErrno(cause, "ENOENT") && !isErrno(cause, "ENOTDIR")) throw cause;
    throw new AppError("the image has no such sub path", { kind: "not-found", cause });
  }
}

/** Name of the snapshot that keeps the layers of a volume. */
function viewOf(id: ContainerId, index: number | ""): string {
  return `${id}-image-${index}`;
}
