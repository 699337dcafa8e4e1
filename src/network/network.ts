import { statfsSync } from "node:fs";
import { type Context, detached } from "../lib/context.ts";
import { describe, failedPrecondition, invalidArgument, kindOf, notFound } from "../lib/errors.ts";
import type { SandboxId } from "../lib/id.ts";
import {
  type Attachment,
  cniArgsOf,
  podInterface,
  type RuntimeConfig,
  runtimeConfigOf,
} from "./cni/attachment.ts";
import {
  addToNetwork,
  checkNetwork,
  collectNetworkGarbage,
  deleteFromNetwork,
  networkStatus,
} from "./cni/cni.ts";
import { findPlugin } from "./cni/cni-plugin.ts";
import { type CniRecord, openCniRecords } from "./cni/cni-records.ts";
import { openConfDirs } from "./cni/conf-dirs.ts";
import type { Conflist } from "./cni/conflist.ts";
import { withEdgeDirs } from "./cni/edge-dirs.ts";
import { openEmbeddedNetwork } from "./embedded/embedded.ts";

export type { Attachment } from "./cni/attachment.ts";

export interface NetworkResult {
  /** At least one; the first is the pod's primary address. */
  readonly ips: readonly string[];
  /** The interface inside the pod. */
  readonly interfaceName: string;
  /** Name of the network that it is attached to. */
  readonly network: string;
}

export interface NetworkStatus {
  readonly ready: boolean;
  /** One word for machines, empty when ready. */
  readonly reason: string;
  readonly message: string;
}

/** Connects pods. A caller runs at most one operation for a sandbox at a time. */
export interface Network {
  /** All or nothing. An attachment left behind by an earlier attempt for this sandbox is taken down first. */
  attach(ctx: Context, attachment: Attachment): Promise<NetworkResult>;
  /** Idempotent. Needs nothing of `attachment` but the id, and whether there still is a namespace. */
  detach(ctx: Context, attachment: Attachment): Promise<void>;
  /** Throws when the pod's network is no longer what it was made. */
  check(ctx: Context, attachment: Pick<Attachment, "sandboxId">): Promise<void>;
  status(ctx: Context): Promise<NetworkStatus>;
  /** Takes down every attachment but those of `keep`, also what plugins hold without our knowing. */
  gc(ctx: Context, keep: readonly SandboxId[]): Promise<void>;
  /** For the embedded network; kept over restarts. Empty: its own choice. */
  setPodCidr(podCidr: string): void;
}

export interface CniNetworkOptions {
  readonly confDirs: readonly string[];
  readonly pluginDirs: readonly string[];
  /** Must outlive a reboot, as the addresses that plugins give out do. */
  readonly cacheDir: string;
  /** Must not. */
  readonly stateDir: string;
  /** What serves while `confDirs` hold no network. */
  readonly fallback: "embedded" | "none";
  /** The plugins that are part of crib: all that the embedded network uses, and the last resort of others. */
  readonly embeddedPluginDir: string;
  /** Which addresses the embedded network has given out. One for the node, as the bridge is. */
  readonly embeddedAddressDir?: string;
}

/** A network for one attachment. `embedded` tells where its plugins are looked for first. */
interface Chosen {
  readonly conflist: Conflist;
  readonly embedded: boolean;
}

/** Of all daemons of a node, which share the bridge. Empty after a reboot. */
export const embeddedAddressDir = "/run/crib-network";

const statusAgeMs = 5_000;
const undoMs = 60_000;

/** The network as CNI plugins make it: that of the configuration directories, else the embedded one. */
export function openCniNetwork(options: CniNetworkOptions): Network {
  const dirs = withEdgeDirs(options);
  const confDirs = openConfDirs(dirs.confDirs);
  const records = openCniRecords({ lasting: options.cacheDir, brief: options.stateDir });
  const embedded = openEmbeddedNetwork({
    dir: options.cacheDir,
    addressDir: options.embeddedAddressDir ?? embeddedAddressDir,
  });
  const attaching = new Set<SandboxId>();
  let told:
    | { readonly about: string; readonly at: number; readonly status: NetworkStatus }
    | undefined;

  const pluginDirs = (of: { readonly embedded: boolean }) =>
    of.embedded
      ? [options.embeddedPluginDir, ...dirs.pluginDirs]
      : [...dirs.pluginDirs, options.embeddedPluginDir];

  function choose(wanted: RuntimeConfig): Chosen {
    const configured = confDirs.current();
    if ("conflist" in configured) return { conflist: configured.conflist, embedded: false };
    if (options.fallback === "none") throw failedPrecondition(configured.reason);
    return { conflist: embedded.conflist(wanted), embedded: true };
  }

  /** Throws when one is missing: better before anything is begun. */
  function findPlugins(chosen: Chosen): void {
    for (const { type } of chosen.conflist.plugins) findPlugin(type, pluginDirs(chosen));
  }

  /** Where it is damaged: as it would be written now. */
  function findRecord(sandboxId: SandboxId, attachment?: Attachment): CniRecord | undefined {
    try {
      return records.find(sandboxId);
    } catch (err) {
      if (kindOf(err) !== "data-loss") throw err;
      return renew(sandboxId, attachment);
    }
  }

  /** The record as it would be written now, which the plugins find the attachment by as well. */
  function renew(sandboxId: SandboxId, attachment?: Attachment): CniRecord {
    const runtimeConfig = attachment === undefined ? {} : runtimeConfigOf(attachment);
    return {
      ...choose(runtimeConfig),
      sandboxId,
      netnsPath: attachment?.netnsPath ?? "",
      cniArgs: attachment === undefined ? "" : cniArgsOf(attachment),
      runtimeConfig: { ...runtimeConfig },
      result: undefined,
    };
  }

  /** Records of the embedded network are lost with the state directory, and what they are about is not. */
  function findLost(attachment: Attachment): CniRecord | undefined {
    const isEmbedded = options.fallback === "embedded" && !("conflist" in confDirs.current());
    const isThisBoot = attachment.netnsPath !== undefined;
    return isEmbedded && isThisBoot ? renew(attachment.sandboxId, attachment) : undefined;
  }

  async function takeDown(ctx: Context, record: CniRecord, hasNetns: boolean): Promise<void> {
    const inside = hasNetns && isNamespace(record.netnsPath);
    await deleteFromNetwork(ctx, pluginDirs(record), record, inside);
    records.delete(record.sandboxId);
  }

  async function attach(ctx: Context, attachment: Attachment): Promise<NetworkResult> {
    const { sandboxId, netnsPath } = attachment;
    if (netnsPath === undefined) throw invalidArgument("attach: no network namespace");
    const runtimeConfig = runtimeConfigOf(attachment);
    const cniArgs = cniArgsOf(attachment);
    const earlier = findRecord(sandboxId, attachment);
    if (earlier !== undefined) await takeDown(ctx, earlier, true);

    const chosen = choose(runtimeConfig);
    findPlugins(chosen);
    if (chosen.embedded) await embedded.prepare(ctx);
    const intent: CniRecord = {
      ...chosen,
      sandboxId,
      netnsPath,
      cniArgs,
      runtimeConfig: { ...runtimeConfig },
      result: undefined,
    };
    await using undo = new AsyncDisposableStack();
    undo.defer(() => takeDown(detached(ctx, undoMs), records.find(sandboxId) ?? intent, true));
    records.put(intent);
    const { raw, ips } = await addToNetwork(ctx, pluginDirs(chosen), intent);
    records.put({ ...intent, result: raw });
    undo.move();
    return { ips, interfaceName: podInterface, network: chosen.conflist.name };
  }

  async function probe(ctx: Context, chosen: Chosen): Promise<NetworkStatus> {
    try {
      findPlugins(chosen);
      await networkStatus(ctx, pluginDirs(chosen), chosen.conflist);
      return { ready: true, reason: "", message: "" };
    } catch (err) {
      return notReady(`network ${chosen.conflist.name}: ${describe(err)}`);
    }
  }

  return {
    async attach(ctx, attachment) {
      attaching.add(attachment.sandboxId);
      try {
        return await attach(ctx, attachment);
      } finally {
        attaching.delete(attachment.sandboxId);
      }
    },

    async detach(ctx, attachment) {
      const { sandboxId, netnsPath } = attachment;
      const record = findRecord(sandboxId, attachment) ?? findLost(attachment);
      if (record !== undefined) await takeDown(ctx, record, netnsPath !== undefined);
    },

    async check(ctx, { sandboxId }) {
      const record = records.find(sandboxId);
      if (record?.result === undefined) throw notFound(`sandbox ${sandboxId} has no network`);
      await checkNetwork(ctx, pluginDirs(record), record);
    },

    async status(ctx) {
      let chosen: Chosen;
      try {
        chosen = choose({});
      } catch (err) {
        return notReady(describe(err));
      }
      const about = JSON.stringify(chosen);
      if (told?.about === about && performance.now() - told.at < statusAgeMs) return told.status;
      const status = await probe(ctx, chosen);
      told = { about, at: performance.now(), status };
      return status;
    },

    async gc(ctx, keep) {
      const kept = new Set([...keep, ...attaching]);
      const used = new Set<string>();
      for (const id of records.list()) {
        try {
          const record = findRecord(id);
          if (record === undefined) continue;
          used.add(record.conflist.name);
          if (!kept.has(id)) await takeDown(ctx, record, true);
        } catch (err) {
          // It stays on record, so that the next collection finds it.
          ctx.log.warn("network of a lost sandbox not taken down", {
            sandbox: id,
            err: describe(err),
          });
        }
      }
      const configured = confDirs.current();
      // A network that we have never used may be another runtime's, whose pods we do not know.
      if ("conflist" in configured && used.has(configured.conflist.name)) {
        const places = pluginDirs({ embedded: false });
        await collectNetworkGarbage(ctx, places, configured.conflist, [...kept]);
      }
    },

    setPodCidr: embedded.setPodCidr,
  };
}

function notReady(message: string): NetworkStatus {
  return { ready: false, reason: "NetworkPluginNotReady", message };
}

const NSFS_MAGIC = 0x6e73_6673;

/** Whether something is pinned there: after a crash it may be an empty file, after a reboot nothing. */
function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}
