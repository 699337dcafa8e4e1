import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, realpathSync } from "node:fs";
import { resolve } from "node:path";
import type { Context } from "../../lib/context.ts";
import { isId, type SandboxId } from "../../lib/id.ts";
import { ifThere } from "../../os/errno-error.ts";
import { lockWithin } from "../../os/file/flock.ts";
import { MS_BIND, MS_REC, MS_SHARED, mount } from "../../os/mount/mount.ts";
import { isSharedMount } from "../../os/mount/mount-points.ts";

/*
 * Network namespaces of pods are pinned where ip-netns(8), containerd and CRI-O have theirs: agents of network plugins
 * open CNI_NETNS through a host path volume of that directory.
 */

/** A node without `/var/run` (an appliance) has `/run` at least, where the state is. */
function nodeDirectory(): string {
  return existsSync("/var/run") ? "/var/run/netns" : "/run/netns";
}

/** Distinguishes the namespaces of this state directory from those of other daemons of the node. */
function prefixOf(stateDir: string): string {
  return `crib-${createHash("sha256").update(resolve(stateDir)).digest("hex").slice(0, 8)}-`;
}

/** Where the network namespace of a sandbox is pinned. */
export function nodeNetnsPath(stateDir: string, id: SandboxId): string {
  return `${nodeDirectory()}/${prefixOf(stateDir)}${id}`;
}

/** The sandboxes of this state directory that have a file in the node's directory, pinned or left behind. */
export function sandboxesWithNetns(stateDir: string): readonly SandboxId[] {
  const prefix = prefixOf(stateDir);
  return (ifThere(() => readdirSync(nodeDirectory())) ?? []).flatMap((name) => {
    const id = name.slice(prefix.length);
    return name.startsWith(prefix) && isId(id) ? [id as SandboxId] : [];
  });
}

const patienceMs = 5_000;

/**
 * Makes the directory, and its mount one that propagates, so that what is pinned appears in every mount namespace that
 * follows the node's. Without systemd `/run` does not propagate; then the directory is mounted on itself, as `ip netns`
 * does it, and under the same lock.
 */
export async function prepareNetnsDirectory(ctx: Context): Promise<void> {
  const dir = nodeDirectory();
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const real = realpathSync(dir);
  if (isSharedMount(real)) return;
  const fd = openSync(real, "r");
  try {
    await lockWithin(ctx, fd, patienceMs);
    if (isSharedMount(real)) return;
    mount(real, real, "", MS_BIND | MS_REC);
    mount("", real, "", MS_SHARED | MS_REC);
  } finally {
    closeSync(fd);
  }
}
