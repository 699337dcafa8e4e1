import { type Context, detached } from "../lib/context.ts";
import { describe, failedPrecondition, invalidArgument, kindOf, notFound } from "../lib/errors.ts";
import type { SandboxId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import type { OwnProgram } from "../os/process/command.ts";
import {
  type Attachment,
  checkAttachment,
  cniArgsOf,
  podInterface,
  type RuntimeConfig,
  runtimeConfigOf,
  salvage,
} from "./cni/attachment.ts";
import { findPlugin } from "./cni/cni-plugin.ts";
import { type CniRecord, type CniRecords, openCniRecords } from "./cni/cni-records.ts";
import { type ConfDirs, openConfDirs } from "./cni/conf-dirs.ts";
import type { Conflist } from "./cni/conflist.ts";
import { type CniDirs, withEdgeDirs } from "./cni/edge-dirs.ts";
import { foreignAttachments, libraryResultsDir } from "./cni/foreign-attachments.ts";
import { endLeftPlugins } from "./cni/left-plugins.ts";
import {
  addToNetwork,
  checkNetwork,
  collectNetworkGarbage,
  deleteFromNetwork,
  networkStatus,
} from "./cni-chain.ts";
import { InProcessPlugins } from "./direct/in-process.ts";
import { type EmbeddedNetwork, openEmbeddedNetwork } from "./embedded/embedded.ts";
import { namespaceIdentity } from "./namespace/identity.ts";
import type { Network, NetworkResult, NetworkStatus } from "./network.ts";

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
  /** The static program that changes interfaces. Absent: all is done by plugins. */
  readonly links?: OwnProgram;
  /** Which addresses the embedded network has given out. One for the node, as the bridge is. */
  readonly embeddedAddressDir?: string;
  /** Where other runtimes of the node keep the results of their attachments; that of the CNI library by default. */
  readonly foreignResultsDir?: string;
}

/** A network for one attachment. `embedded` says where its plugins are looked for first. */
interface Chosen {
  readonly conflist: Conflist;
  readonly embedded: boolean;
}

/** Of an attachment: whether this boot has made it, and which namespace was its own. */
interface Boot {
  readonly isSame: boolean;
  readonly identity?: string | undefined;
}

const thisBoot: Boot = { isSame: true };

/** Of all daemons of a node, which share the bridge. Empty after a reboot. */
export const embeddedAddressDir = "/run/crib-network";

const statusAgeMs = 5_000;
const rollbackMs = 110_000;
const maxPauseMs = 60_000;

/** The network as CNI plugins make it: that of the configuration directories, else the embedded one. */
export class CniNetwork implements Network {
  readonly #options: CniNetworkOptions;
  readonly #dirs: CniDirs;
  readonly #confDirs: ConfDirs;
  readonly #records: CniRecords;
  readonly #embedded: EmbeddedNetwork;
  readonly #inProcess: InProcessPlugins | undefined;
  readonly #attaching = new Set<SandboxId>();
  /** What is left of detaching: slow, and nothing that a caller has to wait for. On record until it is done. */
  readonly #detaching = new Map<SandboxId, Promise<void>>();
  /** The last status that was returned. */
  #told:
    | { readonly about: string; readonly at: number; readonly status: NetworkStatus }
    | undefined;

  constructor(options: CniNetworkOptions) {
    this.#options = options;
    const { links, embeddedPluginDir } = options;
    this.#inProcess =
      links === undefined
        ? undefined
        : new InProcessPlugins({ program: links, ownPluginDir: embeddedPluginDir });
    this.#dirs = withEdgeDirs(options);
    this.#confDirs = openConfDirs(this.#dirs.confDirs);
    this.#records = openCniRecords({ lasting: options.cacheDir, brief: options.stateDir });
    this.#embedded = openEmbeddedNetwork({
      dir: options.cacheDir,
      addressDir: options.embeddedAddressDir ?? embeddedAddressDir,
    });
  }

  validate(attachment: Attachment): void {
    checkAttachment(attachment);
    this.#findPlugins(this.#choose(runtimeConfigOf(attachment)));
  }

  async attach(ctx: Context, attachment: Attachment): Promise<NetworkResult> {
    this.#attaching.add(attachment.sandboxId);
    try {
      return await this.#attach(ctx, attachment);
    } finally {
      this.#attaching.delete(attachment.sandboxId);
    }
  }

  async #attach(ctx: Context, attachment: Attachment): Promise<NetworkResult> {
    const { sandboxId, netnsPath } = attachment;
    if (netnsPath === undefined) throw invalidArgument("attach: no network namespace");
    const runtimeConfig = runtimeConfigOf(attachment);
    const cniArgs = cniArgsOf(attachment);
    const earlier = this.#findRecord(ctx, sandboxId, attachment);
    if (earlier !== undefined) await this.#takeDown(ctx, earlier, thisBoot);

    const chosen = this.#choose(runtimeConfig);
    this.#findPlugins(chosen);
    if (chosen.embedded) await this.#embedded.prepare(ctx);
    const intent: CniRecord = {
      ...chosen,
      sandboxId,
      netnsPath,
      cniArgs,
      runtimeConfig: { ...runtimeConfig },
      result: undefined,
    };
    await using rollback = new AsyncDisposableStack();
    rollback.defer(() =>
      this.#takeDown(detached(ctx, rollbackMs), this.#records.find(sandboxId) ?? intent, thisBoot),
    );
    this.#records.put(intent);
    const places = this.#pluginDirs(chosen);
    const { raw, ips } = await addToNetwork(ctx, places, intent, this.#inProcess);
    this.#records.put({ ...intent, result: raw });
    rollback.move();
    return { ips, interfaceName: podInterface, network: chosen.conflist.name };
  }

  async detach(ctx: Context, attachment: Attachment): Promise<void> {
    const { sandboxId, netnsPath } = attachment;
    if (this.#detaching.has(sandboxId)) return;
    const record = this.#findRecord(ctx, sandboxId, attachment) ?? this.#findLost(attachment);
    if (record === undefined) return;
    const boot: Boot = { isSame: netnsPath !== undefined, identity: attachment.netnsIdentity };
    if (!this.#canFinishLater(record)) return await this.#takeDown(ctx, record, boot);
    await this.#takeDown(ctx, record, boot, "others");
    const finishing = this.#finish(ctx, record, boot);
    this.#detaching.set(
      sandboxId,
      finishing.finally(() => this.#detaching.delete(sandboxId)),
    );
  }

  /** Whether what the first plugin has made is known in every detail, so that nothing can be lost of it. */
  #canFinishLater(record: CniRecord): boolean {
    const known = this.#inProcess?.find(record, 0, this.#pluginDirs(record));
    return known?.kind === "bridge" && this.#inProcess?.made(known.plan, record) !== undefined;
  }

  /** Never throws. What does not succeed in the end stays on record, for the next start's collection. */
  async #finish(ctx: Context, record: CniRecord, boot: Boot): Promise<void> {
    for (let pauseMs = 1_000; ; pauseMs *= 2) {
      try {
        return await inStep(ctx, "network.finish", () =>
          this.#takeDown(detached(ctx, rollbackMs), record, boot, "first"),
        );
      } catch (err) {
        ctx.log.warn("network removal failed", { cleanup_err: describe(err) });
        if (pauseMs > maxPauseMs) return;
        await Bun.sleep(pauseMs);
      }
    }
  }

  async check(ctx: Context, { sandboxId }: Pick<Attachment, "sandboxId">): Promise<void> {
    const record = this.#records.find(sandboxId);
    if (record?.result === undefined) throw notFound(`sandbox ${sandboxId} has no network`);
    await checkNetwork(ctx, this.#pluginDirs(record), record);
  }

  async status(ctx: Context): Promise<NetworkStatus> {
    let chosen: Chosen;
    try {
      chosen = this.#choose({});
    } catch (err) {
      return notReady(describe(err));
    }
    const about = JSON.stringify(chosen);
    const told = this.#told;
    if (told?.about === about && performance.now() - told.at < statusAgeMs) return told.status;
    const status = await this.#probe(ctx, chosen);
    this.#told = { about, at: performance.now(), status };
    return status;
  }

  async gc(ctx: Context, keep: readonly SandboxId[]): Promise<void> {
    await Promise.all(this.#detaching.values());
    const kept = new Set([...keep, ...this.#attaching]);
    const used = new Set<string>();
    for (const id of this.#records.list()) {
      try {
        const record = this.#findRecord(ctx, id);
        if (record === undefined) continue;
        used.add(record.conflist.name);
        if (!kept.has(id)) await this.#takeDown(ctx, record, thisBoot);
      } catch (err) {
        // It stays on record, so that the next collection finds it.
        ctx.log.warn("network removal of a lost sandbox failed", {
          sandbox: id,
          err: describe(err),
        });
      }
    }
    const configured = this.#confDirs.current();
    // A network that we have never used may be another runtime's, whose pods we do not know.
    if ("conflist" in configured && used.has(configured.conflist.name)) {
      const places = this.#pluginDirs({ embedded: false });
      const own = [...kept].map((id) => ({ containerID: id, ifname: podInterface }));
      const foreign = foreignAttachments(
        this.#options.foreignResultsDir ?? libraryResultsDir,
        configured.conflist.name,
      );
      await collectNetworkGarbage(ctx, places, configured.conflist, [...own, ...foreign]);
    }
  }

  setPodCidr(podCidr: string): void {
    this.#embedded.setPodCidr(podCidr);
  }

  #pluginDirs({ embedded }: Pick<Chosen, "embedded">): readonly string[] {
    const own = this.#options.embeddedPluginDir;
    const { pluginDirs } = this.#dirs;
    return embedded ? [own, ...pluginDirs] : [...pluginDirs, own];
  }

  #choose(wanted: RuntimeConfig): Chosen {
    const configured = this.#confDirs.current();
    if ("conflist" in configured) return { conflist: configured.conflist, embedded: false };
    if (this.#options.fallback === "none") throw failedPrecondition(configured.reason);
    return { conflist: this.#embedded.conflist(wanted), embedded: true };
  }

  /** Throws when one is missing: better before anything is begun. */
  #findPlugins(chosen: Chosen): void {
    for (const { type } of chosen.conflist.plugins) findPlugin(type, this.#pluginDirs(chosen));
  }

  /** Where it is damaged: as it would be written now. */
  #findRecord(ctx: Context, id: SandboxId, attachment?: Attachment): CniRecord | undefined {
    try {
      return this.#records.find(id);
    } catch (err) {
      if (kindOf(err) !== "data-loss") throw err;
      const renewed = this.#renew(id, attachment);
      if (renewed !== undefined) return renewed;
      // Neither the record nor a configuration says what there is to take down: the pod must not stay because of it.
      ctx.log.warn("network record damaged and no network configured", { err: describe(err) });
      this.#records.delete(id);
      return undefined;
    }
  }

  /**
   * The record as it would be written now, which the plugins find the attachment by as well. What the pod once asked for
   * is not judged: that was before it was made.
   */
  #renew(sandboxId: SandboxId, attachment?: Attachment): CniRecord | undefined {
    const told = attachment && salvage(attachment);
    const chosen = this.#tryToChoose(told?.runtimeConfig ?? {}) ?? this.#tryToChoose({});
    return (
      chosen && {
        ...chosen,
        sandboxId,
        netnsPath: attachment?.netnsPath ?? "",
        cniArgs: told?.cniArgs ?? "",
        runtimeConfig: { ...told?.runtimeConfig },
        result: undefined,
      }
    );
  }

  #tryToChoose(wanted: RuntimeConfig): Chosen | undefined {
    try {
      return this.#choose(wanted);
    } catch {
      return undefined;
    }
  }

  /** Records of the embedded network are lost with the state directory, and what they are about is not. */
  #findLost(attachment: Attachment): CniRecord | undefined {
    const { fallback } = this.#options;
    const isEmbedded = fallback === "embedded" && !("conflist" in this.#confDirs.current());
    const isThisBoot = attachment.netnsPath !== undefined;
    return isEmbedded && isThisBoot ? this.#renew(attachment.sandboxId, attachment) : undefined;
  }

  async #takeDown(
    ctx: Context,
    record: CniRecord,
    boot: Boot,
    part: "all" | "first" | "others" = "all",
  ): Promise<void> {
    // ADD was cut off: whatever still works on it would make things after DEL.
    if (record.result === undefined) await endLeftPlugins(ctx, record.sandboxId);
    const inside = boot.isSame && isPodNamespace(record.netnsPath, boot.identity);
    await deleteFromNetwork(ctx, this.#pluginDirs(record), record, inside, {
      inProcess: this.#inProcess,
      hasLinks: boot.isSame,
      part,
    });
    if (part !== "others") this.#records.delete(record.sandboxId);
  }

  async #probe(ctx: Context, chosen: Chosen): Promise<NetworkStatus> {
    try {
      this.#findPlugins(chosen);
      await networkStatus(ctx, this.#pluginDirs(chosen), chosen.conflist);
      return { ready: true, reason: "", message: "" };
    } catch (err) {
      return notReady(`network ${chosen.conflist.name}: ${describe(err)}`);
    }
  }
}

function notReady(message: string): NetworkStatus {
  return { ready: false, reason: "NetworkPluginNotReady", message };
}

/**
 * Whether plugins may go in there and remove the pod's interface: after a crash it may be an empty file, after a reboot
 * nothing. If somebody has mounted another namespace in its place, they would remove the interfaces of that: at worst the
 * node's.
 */
function isPodNamespace(path: string, made: string | undefined): boolean {
  const found = namespaceIdentity(path);
  if (found === undefined) return false;
  return made === undefined ? found !== namespaceIdentity("/proc/self/ns/net") : found === made;
}
