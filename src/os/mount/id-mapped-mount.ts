import { ptr } from "bun:ffi";
import { OwnedFd } from "../file/owned-fd.ts";
import { check, cstring, int32, link, uint32 } from "../libc.ts";
import { MS_PRIVATE } from "./mount.ts";

const libc = link({
  syscall: { args: ["i64", "i64", "ptr", "u64", "ptr", "u64"], returns: "i64" },
});
const moving = link({
  syscall: { args: ["i64", "i64", "ptr", "i64", "ptr", "u64"], returns: "i64" },
});

// The same on every architecture that Bun runs on (asm-generic/unistd.h).
const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_mount_setattr = 442;

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 0x1;
const OPEN_TREE_CLOEXEC = 0x8_0000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const MOUNT_ATTR_RDONLY = 0x1n;
const MOUNT_ATTR_IDMAP = 0x10_0000n;

/** open_tree(2): a copy of the mount that `path` is on, beginning there, which is mounted nowhere yet. */
export function cloneMount(path: string): OwnedFd {
  const name = cstring(path);
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return new OwnedFd(
    check(`open_tree ${path}`, () =>
      libc.syscall(SYS_open_tree, AT_FDCWD, name, uint32(flags), null, 0),
    ),
  );
}

/** mount_setattr(2): a mount of nowhere shows files with the ids that they have inside a user namespace, read-only. */
export function mapIds(mountFd: number, userNamespaceFd: number): void {
  const empty = cstring("");
  const set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY;
  // struct mount_attr: attr_set, attr_clr, propagation, userns_fd
  const attributes = new BigUint64Array([
    set,
    0n,
    BigInt(MS_PRIVATE),
    BigInt(int32(userNamespaceFd)),
  ]);
  check("mount_setattr MOUNT_ATTR_IDMAP", () =>
    libc.syscall(
      SYS_mount_setattr,
      int32(mountFd),
      empty,
      AT_EMPTY_PATH,
      ptr(attributes),
      attributes.byteLength,
    ),
  );
}

/** move_mount(2): puts a mount of nowhere at `target`. */
export function attachMount(mountFd: number, target: string): void {
  const [empty, path] = [cstring(""), cstring(target)];
  check(`move_mount ${target}`, () =>
    moving.syscall(SYS_move_mount, int32(mountFd), empty, AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH),
  );
}
