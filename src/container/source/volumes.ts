import { fstatSync, readdirSync } from "node:fs";
import { posix } from "node:path";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import { rootOf, type UserNamespace } from "../../oci/pod-ids.ts";
import { isErrno } from "../../os/errno-error.ts";
import { openPathInRoot } from "../../os/file/open-in-root.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import { copyTree } from "../../snapshot/copy-tree.ts";
import type { ContainerDeps } from "../deps.ts";

/** A directory that an image calls a volume, and where its files are on the node. */
export interface ImageDefinedVolume {
  readonly destination: string;
  readonly source: string;
}

/** More than any image has; each costs a directory and a mount. */
const maxVolumes = 256;
/** The kernel's file systems are no image's to replace. */
const kernelDirectories = ["/proc", "/sys", "/dev"];

/**
 * Makes the volumes that the image defines (image-spec, config `Volumes`; VOLUME of a Dockerfile): for each a directory of
 * the container's own, writable also where the root file system is read-only and outside of its overlay, with what the
 * image has there: files, owner and mode. One that the request mounts something at is left out. They go with the
 * container's snapshot.
 */
export async function makeVolumes(
  ctx: Context,
  { snapshots }: Pick<ContainerDeps, "snapshots">,
  container: { readonly id: ContainerId; readonly rootfs: string },
  paths: readonly string[],
  mounts: readonly pb.Mount[],
  userNamespace: UserNamespace | undefined,
): Promise<readonly ImageDefinedVolume[]> {
  const wanted = volumePaths(paths, mounts);
  if (wanted.length > maxVolumes) {
    throw invalidArgument(`the image defines more than ${maxVolumes} volumes`);
  }
  const owner = userNamespace === undefined ? { uid: 0, gid: 0 } : rootOf(userNamespace.ids);
  const volumes: ImageDefinedVolume[] = [];
  // A container that is made anew has those that it had: the image and the mounts are the same.
  const kept = snapshots.listVolumes(container.id);
  for (const [i, destination] of wanted.entries()) {
    const keptSource = kept[i];
    if (keptSource !== undefined) {
      volumes.push({ destination, source: keptSource });
      continue;
    }
    using found = findDirectory(container.rootfs, destination);
    const source = await snapshots.addVolume(ctx, container.id, {
      owner,
      content: found && `/proc/self/fd/${found.fd}/.`,
    });
    volumes.push({ destination, source });
  }
  return volumes;
}

/** Copies what the image has at `destination`, where that is a directory, into a directory of the node that is empty. */
export async function fillDirectory(
  ctx: Context,
  rootfs: string,
  { source, destination }: ImageDefinedVolume,
): Promise<void> {
  if (readdirSync(source).length > 0) return;
  using found = findDirectory(rootfs, destination);
  if (found === undefined) return;
  await copyTree(ctx, Buffer.from(`/proc/self/fd/${found.fd}/.`), Buffer.from(source));
}

/** Absolute and each once, without those that the request mounts something at. A relative path is below the root. */
export function volumePaths(
  volumes: readonly string[],
  mounts: readonly Pick<pb.Mount, "containerPath">[],
): readonly string[] {
  const taken = new Set(mounts.map(({ containerPath }) => normalise(containerPath)));
  const paths = new Set(volumes.filter((path) => !path.includes("\0")).map(normalise));
  return [...paths].filter(
    (path) =>
      path !== "/" &&
      !taken.has(path) &&
      !kernelDirectories.some((kernel) => path === kernel || path.startsWith(`${kernel}/`)),
  );
}

function normalise(path: string): string {
  return posix.normalize(`/${path}`).replace(/(?<=.)\/$/, "");
}

/** Links of the image are followed inside of it. */
function findDirectory(rootfs: string, path: string): OwnedFd | undefined {
  try {
    using found = openPathInRoot(rootfs, path);
    if (fstatSync(found.fd).isDirectory()) return new OwnedFd(found.release());
  } catch (err) {
    if (isErrno(err, "ENOENT")) return undefined;
    throw failedPrecondition(`volume ${quote(path)} of the image`, err);
  }
  throw failedPrecondition(`volume ${quote(path)} of the image is no directory`);
}

function quote(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}
