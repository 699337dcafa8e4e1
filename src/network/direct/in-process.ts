import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { OwnProgram } from "../../os/process/command.ts";
import { findPlugin } from "../cni/cni-plugin.ts";
import type { CniRecord } from "../cni/cni-records.ts";
import { type PluginConfig, speaks } from "../cni/conflist.ts";
import {
  addBridged,
  type Bridged,
  type BridgePlan,
  deleteBridged,
  deleteUnfinished,
  planBridge,
  readBridged,
} from "./bridge.ts";

/** What a plugin of a chain does, where that is known so well that no plugin has to be started for it. */
export type Known =
  | { readonly kind: "bridge"; readonly plan: BridgePlan }
  /** It hands on the result of the one before. */
  | { readonly kind: "nothing" };

export interface InProcessOptions {
  /** The static program that changes interfaces. */
  readonly program: OwnProgram;
  /** The plugins that are part of crib; one that the node has installed is started whatever it is. */
  readonly ownPluginDir: string;
}

/** Plugins' keys that change nothing when the pod asks for nothing. */
const idle: Readonly<
  Record<string, { readonly keys: ReadonlySet<string>; readonly wish: string }>
> = {
  portmap: { keys: new Set(["type", "capabilities", "snat"]), wish: "portMappings" },
  bandwidth: { keys: new Set(["type", "capabilities"]), wish: "bandwidth" },
};

/** Does what plugins would do, with their results and files, so that either can take down what the other has made. */
export class InProcessPlugins {
  readonly #options: InProcessOptions;

  constructor(options: InProcessOptions) {
    this.#options = options;
  }

  /** `undefined`: the plugin has to be started. `at` is its place in the chain. */
  find(
    { conflist, runtimeConfig }: CniRecord,
    at: number,
    pluginDirs: readonly string[],
  ): Known | undefined {
    const plugin = conflist.plugins[at];
    if (plugin === undefined || !this.#isOwn(plugin.type, pluginDirs)) return undefined;
    // Results of before have another form, which the plugins know.
    if (!speaks(conflist, "0.3.0")) return undefined;
    if (at === 0 && plugin.type === "bridge" && this.#isOwn("host-local", pluginDirs)) {
      const plan = planBridge(plugin, conflist.name, conflist.cniVersion);
      return plan && { kind: "bridge", plan };
    }
    return at > 0 && isIdle(plugin, runtimeConfig) ? { kind: "nothing" } : undefined;
  }

  async add(ctx: Context, plan: BridgePlan, record: CniRecord): Promise<JsonObject | undefined> {
    try {
      return await addBridged(ctx, this.#options.program, plan, record);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn("network set-up in process failed, starting its plugins", {
        err: describe(err),
      });
      return undefined;
    }
  }

  /** What was made of the plan; `undefined` where it is not known exactly. */
  made(plan: BridgePlan, record: CniRecord): Bridged | undefined {
    return record.result === undefined ? undefined : readBridged(plan, record.result);
  }

  /** Whether it is gone; else its plugin has to see to it. */
  async delete(
    ctx: Context,
    plan: BridgePlan,
    record: CniRecord,
    hasLinks: boolean,
  ): Promise<boolean> {
    const made = this.made(plan, record);
    if (made === undefined) return false;
    try {
      const { sandboxId } = record;
      await deleteBridged(ctx, this.#options.program, plan, made, { sandboxId, hasLinks });
      return true;
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn("network removal in process failed, starting its plugins", {
        err: describe(err),
      });
      return false;
    }
  }

  /** What an ADD in process may have left that was cut off; after its plugin's DEL. */
  async deleteUnfinished(ctx: Context, plan: BridgePlan, record: CniRecord): Promise<void> {
    if (record.result === undefined) await deleteUnfinished(ctx, plan, record.sandboxId);
  }

  #isOwn(type: string, pluginDirs: readonly string[]): boolean {
    try {
      return findPlugin(type, pluginDirs) === `${this.#options.ownPluginDir}/${type}`;
    } catch {
      return false;
    }
  }
}

function isIdle(plugin: PluginConfig, runtimeConfig: JsonObject): boolean {
  const known = idle[plugin.type];
  if (known === undefined || Object.keys(plugin.config).some((key) => !known.keys.has(key))) {
    return false;
  }
  return !plugin.capabilities.includes(known.wish) || runtimeConfig[known.wish] === undefined;
}
