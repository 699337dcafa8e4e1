import { dirname } from "node:path";
import { findUnsearchable } from "../../os/file/unsearchable.ts";
import { formatSize } from "../output/format.ts";
import { type Finding, findingsOf } from "./finding.ts";
import { mountOf, type Node } from "./node.ts";

const finding = findingsOf("storage");

/** File systems that overlay takes as its upper layer and that keep extended attributes. */
const known = ["ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "ext3", "ext2"];
const unfit = ["overlay", "aufs", "nfs", "nfs4", "vfat", "exfat", "ntfs", "fuseblk", "squashfs"];

const [leastBytes, comfortableBytes] = [500e6, 5e9];

export interface StoragePlaces {
  readonly root: string;
  readonly state: string;
}

export function checkStorage(node: Node, { root, state }: StoragePlaces): readonly Finding[] {
  return [
    checkMountOptions(node, root),
    checkType(node, root),
    checkFree(node, root),
    checkState(node, state),
    checkSearchable(node, state),
  ];
}

function checkMountOptions(node: Node, root: string): Finding {
  const name = "data directory";
  const mount = mountOf(node, root);
  if (mount?.options.includes("ro")) {
    return finding(name, "missing", `${root} is on ${mount.path}, which is read-only`);
  }
  if (mount?.options.includes("noexec")) {
    const what = `${root} is on ${mount.path}, which is noexec: crib and its parts run from there`;
    return finding(name, "missing", `${what}; set CRIB_DATA or remount`);
  }
  if (mount?.options.includes("nodev") || mount?.options.includes("nosuid")) {
    const what = "nodev or nosuid: device files and set-id programs of images have no effect";
    return finding(name, "warning", `${root} is on ${mount.path}, which is ${what}`);
  }
  return finding(name, "ok", root);
}

function checkType(node: Node, root: string): Finding {
  const type = mountOf(node, root)?.type ?? "unknown";
  if (known.includes(type)) return finding("file system", "ok", type);
  return unfit.includes(type)
    ? finding("file system", "missing", `${type} cannot hold containers' overlay layers`)
    : finding("file system", "warning", `${type}: not known to hold overlay layers`);
}

function checkFree(node: Node, root: string): Finding {
  const free = freeAt(node, root);
  if (free === undefined) return finding("free space", "warning", `cannot tell for ${root}`);
  const text = `${formatSize(free)} for ${root}`;
  if (free < leastBytes) return finding("free space", "missing", `${text}: no room for images`);
  return finding("free space", free < comfortableBytes ? "warning" : "ok", text);
}

/** Of the nearest directory that is there. */
function freeAt(node: Node, path: string): number | undefined {
  return node.freeBytes(path) ?? (path === "/" ? undefined : freeAt(node, dirname(path)));
}

function checkState(node: Node, state: string): Finding {
  const mount = mountOf(node, state);
  if (mount?.type === "tmpfs") return finding("state directory", "ok", `${state} on tmpfs`);
  const why = "it wears flash out, and is not empty after a reboot";
  return finding("state directory", "warning", `${state} is on ${mount?.type}, not tmpfs: ${why}`);
}

/** The root of a pod with a user namespace is one of the node's other users. */
function checkSearchable(node: Node, state: string): Finding {
  const name = "way to the state directory";
  const closed = findUnsearchable(state, (directory) => node.mode(directory));
  if (closed === undefined) return finding(name, "ok", "open to pods with a user namespace");
  const mode = ((node.mode(closed) ?? 0) & 0o7777).toString(8);
  const what = `${closed} has mode 0${mode}: pods with hostUsers: false do not run; chmod o+x ${closed}`;
  return finding(name, "warning", what);
}
