import { readdirSync, rmdirSync, rmSync } from "node:fs";
import { readCgroupHost } from "../cgroup/host.ts";
import { removeDefaultParent } from "../cgroup/remove.ts";
import { type Context, detached } from "../lib/context.ts";
import { describe, failedPrecondition } from "../lib/errors.ts";
import { embeddedAddressDir } from "../network/cni-network.ts";
import { removeEmbeddedNetwork } from "../network/embedded/remove-embedded.ts";
import { unpin } from "../network/namespace/netns.ts";
import { nodeNetnsPath, sandboxesWithNetns } from "../network/namespace/node-netns.ts";
import { bootId } from "../os/clock.ts";
import { isErrno } from "../os/errno-error.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../os/mount/mount.ts";
import { mountPointsBelow } from "../os/mount/mount-points.ts";
import { setChildSubreaper } from "../os/process/prctl.ts";
import * as shim from "../runtime/shim/open-shim.ts";
import { removeSandbox } from "../sandbox/remove.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Config } from "./config/config.ts";
import { makeDirectories, openDomain } from "./graph/domain.ts";
import { lockDirectory } from "./lock.ts";
import { recover } from "./recover.ts";
import { clearStaleState } from "./stale-state.ts";

export interface ResetReport {
  /** Pods that were there and are gone. */
  readonly pods: readonly Sandbox["config"][];
  readonly containers: number;
  /** False: pods of another daemon of this node use it. */
  readonly networkRemoved: boolean;
  /** One line each; what they are about may still be there. */
  readonly failures: readonly string[];
}

/** So many pods at once. */
const parallel = 8;
const monitorsMs = 10_000;
const networkMs = 60_000;

/**
 * Leaves nothing of this node's pods: does what the daemon would do if it were asked to remove all of them, by its own
 * records, and then what no daemon does, because it means to go on. Refuses while a daemon runs. With `wipe` root and
 * state are emptied as well.
 */
export async function resetNode(
  ctx: Context,
  config: Config,
  options: { readonly wipe: boolean },
): Promise<ResetReport> {
  using locks = new DisposableStack();
  locks.use(lockDirectory(config.root));
  if (config.state !== config.root) locks.use(lockDirectory(config.state));
  clearStaleState(config.state, bootId(), ctx.log);
  makeDirectories(config);
  setChildSubreaper();
  const failures: string[] = [];
  const attempt = async (step: string, act: () => Promise<void>) => {
    try {
      await act();
    } catch (err) {
      ctx.signal.throwIfAborted();
      failures.push(`${step}: ${describe(err)}`);
    }
  };
  const removed = await removePods(ctx, config, attempt);
  let networkRemoved = false;
  await attempt("remove the embedded network", async () => {
    networkRemoved = await removeEmbeddedNetwork(detached(ctx, networkMs), embeddedAddressDir);
  });
  await attempt("unmount", async () => {
    for (const id of sandboxesWithNetns(config.state)) unpin(nodeNetnsPath(config.state, id));
    unmountBelow(config);
  });
  if (options.wipe) {
    await attempt("remove cgroups", async () => removeDefaultParent(readCgroupHost()));
    await attempt("remove files", async () => wipe(config));
  }
  return { ...removed, networkRemoved, failures };
}

type Attempt = (step: string, act: () => Promise<void>) => Promise<void>;

async function removePods(ctx: Context, config: Config, attempt: Attempt) {
  await using resources = new AsyncDisposableStack();
  const unused = () => Promise.reject(new Error("no plugin and no pull in a reset"));
  const loadShims = () => Promise.resolve(shim);
  const parts = { loadNri: unused, loadVerifier: unused, loadRegistries: unused, loadShims };
  const { deps, monitors } = await openDomain(ctx, config, resources, parts);
  const containers = deps.containers.list().length;
  const before = deps.sandboxes.list();
  await recover(ctx, deps);
  const waiting = deps.sandboxes.list().map(({ id }) => id);
  const work = Array.from({ length: parallel }, async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      const pod = id;
      await attempt(`remove pod ${pod}`, () => removeSandbox(ctx, deps, pod));
    }
  });
  await Promise.all(work);
  await attempt("networks", () => deps.network.gc(detached(ctx, networkMs), []));
  await attempt("end the monitors", () => monitors.retire(detached(ctx, monitorsMs)));
  const left = new Set(deps.sandboxes.list().map(({ id }) => id));
  return {
    pods: before.filter(({ id }) => !left.has(id)).map(({ config: pod }) => pod),
    containers: containers - deps.containers.list().length,
  };
}

/** What a failed removal has left; images are no mounts. */
function unmountBelow({ root, state }: Config): void {
  for (const directory of [state, `${root}/snapshots`]) {
    for (const path of mountPointsBelow(directory).toReversed()) {
      umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
  }
}

/** Never through a mount: somebody has put it there, and what is behind it is not ours. */
function wipe({ root, state }: Config): void {
  for (const directory of [root, state]) {
    const [mounted] = mountPointsBelow(directory);
    if (mounted !== undefined) throw failedPrecondition(`${mounted} is mounted: unmount it first`);
  }
  for (const directory of [root, state]) empty(directory);
}

/** The directory goes as well, unless it is a mount point or called by a link. */
function empty(directory: string): void {
  try {
    for (const name of readdirSync(directory)) {
      rmSync(`${directory}/${name}`, { recursive: true, force: true });
    }
    rmdirSync(directory);
  } catch (err) {
    const stays = ["EBUSY", "ENOTDIR", "ENOENT"] as const;
    if (!stays.some((code) => isErrno(err, code))) throw err;
  }
}
