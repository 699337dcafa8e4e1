import { mkdirSync, openSync, rmdirSync } from "node:fs";
import type { UserNamespace } from "../oci/pod-ids.ts";
import { isErrno } from "../os/errno-error.ts";
import { OwnedFd } from "../os/file/owned-fd.ts";
import { attachMount, cloneMount, mapIds } from "../os/mount/id-mapped-mount.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../os/mount/mount.ts";

/** A view of all layers for one user namespace. Disposing it leaves the overlays that were made from it as they are. */
export interface MappedLayers extends Disposable {
  /** Where a directory of the layers is in the view. */
  readonly pathOf: (directory: string) => string;
}

/**
 * Shows `directory`, which holds all layers, at `target` with the ids of a user namespace: one id-mapped mount whatever
 * the number of layers, for as long as it takes to mount an overlay. It is read-only, so that nothing is ever deleted
 * through one that was left behind.
 */
export function mapLayers(
  directory: string,
  target: string,
  { path }: Pick<UserNamespace, "path">,
): MappedLayers {
  using rollback = new DisposableStack();
  using tree = cloneMount(directory);
  using namespace = new OwnedFd(openSync(path, "r"));
  mapIds(tree.fd, namespace.fd);
  mkdirSync(target, { recursive: true, mode: 0o700 });
  rollback.defer(() => unmapLayers(target));
  attachMount(tree.fd, target);
  const view = rollback.move();
  return {
    pathOf: (layer) => target + layer.slice(directory.length),
    [Symbol.dispose]: () => view.dispose(),
  };
}

/** Idempotent. */
export function unmapLayers(target: string): void {
  try {
    umount(target, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return;
    if (!isErrno(err, "EINVAL")) throw err;
  }
  rmdirSync(target);
}
