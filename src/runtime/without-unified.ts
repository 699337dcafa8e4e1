import { invalidArgument } from "../lib/errors.ts";
import { execute } from "../os/execute.ts";
import { MNT_DETACH, MS_PRIVATE, mount, umount } from "../os/mount.ts";
import { unshare } from "../os/namespaces.ts";
import { childEnv } from "../os/role.ts";

const CLONE_NEWNS = 0x2_0000;
const cgroupMount = "/sys/fs/cgroup";

/**
 * The role `crib without-unified PROGRAM ARG...`: becomes the program in a mount namespace that lacks the unified
 * cgroup hierarchy of a hybrid node. Only the mount that carries it is made private, so that the unmounting stays
 * here; all others stay peers of the node's, and containers see its later mounts, and it theirs, as usual.
 */
export function runWithoutUnified([program, ...args]: readonly string[]): never {
  if (!program?.startsWith("/")) throw invalidArgument("without-unified: wants an absolute path");
  unshare(CLONE_NEWNS);
  mount("none", cgroupMount, "", MS_PRIVATE);
  umount(`${cgroupMount}/unified`, MNT_DETACH);
  return execute(
    [program, ...args],
    Object.entries(childEnv).map(([key, value]) => `${key}=${value}`),
  );
}
