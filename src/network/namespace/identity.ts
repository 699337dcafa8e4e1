import { type BigIntStats, statSync } from "node:fs";

/**
 * Which namespace is pinned at a path: an inode of the kernel's nsfs, which no other namespace of the node has while this
 * one lives. `undefined` where none is. One stat(2).
 */
export function namespaceIdentity(path: string): string | undefined {
  const found = statOf(path);
  return found?.dev === nsfs() ? String(found.ino) : undefined;
}

function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

let device: bigint | undefined;

/** All namespaces are on one device. */
function nsfs(): bigint {
  device ??= statSync("/proc/self/ns/net", { bigint: true }).dev;
  return device;
}
