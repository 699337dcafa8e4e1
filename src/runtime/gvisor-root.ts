import { readdirSync, rmdirSync, rmSync } from "node:fs";
import { ifThere, isErrno } from "../os/errno-error.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../os/mount/mount.ts";

const pinned = "null-netns";

/**
 * Releases what runsc leaves in its state directory (`--root`) when it has deleted its last container: an empty network
 * namespace, pinned for the next one (runsc/container/container.go, pinNullNetNS). Nothing happens while there are
 * containers, or where the directory is not runsc's or not there.
 */
export function releaseGvisorRoot(root: string): void {
  const names = ifThere(() => readdirSync(root)) ?? [];
  if (names.length !== 1 || names[0] !== pinned) return;
  const path = `${root}/${pinned}`;
  try {
    umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (err) {
    if (!isErrno(err, "EINVAL") && !isErrno(err, "ENOENT")) throw err; // no mount any more
  }
  rmSync(path, { force: true });
  try {
    rmdirSync(root);
  } catch (err) {
    if (!isErrno(err, "ENOTEMPTY") && !isErrno(err, "ENOENT")) throw err; // a container has come meanwhile
  }
}
