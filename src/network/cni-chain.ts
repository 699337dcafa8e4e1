import type { Context } from "../lib/context.ts";
import { AppError } from "../lib/errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { podInterface } from "./cni/attachment.ts";
import { type CniCommand, callPlugin } from "./cni/cni-plugin.ts";
import type { CniRecord } from "./cni/cni-records.ts";
import { type CniResult, parseResult } from "./cni/cni-result.ts";
import { type Conflist, type PluginConfig, speaks } from "./cni/conflist.ts";
import type { ValidAttachment } from "./cni/foreign-attachments.ts";
import type { InProcessPlugins } from "./direct/in-process.ts";

/*
 * The verbs of the CNI specification (section 3) over a chain of plugins.
 */

const statusTimeoutMs = 5_000;

/**
 * ADD, plugin after plugin, each given the result of the one before. A plugin may take as long as the call: some wait
 * for an agent that is just starting.
 */
export async function addToNetwork(
  ctx: Context,
  pluginDirs: readonly string[],
  record: CniRecord,
  inProcess?: InProcessPlugins,
): Promise<CniResult> {
  const { conflist } = record;
  let last: CniResult | undefined;
  for (const [i, plugin] of conflist.plugins.entries()) {
    const known = inProcess?.find(record, i, pluginDirs);
    if (known?.kind === "nothing") continue;
    const made = known && (await inProcess?.add(ctx, known.plan, record));
    const stdout =
      made === undefined
        ? await callPlugin(ctx, attachmentCall("ADD", pluginDirs, record, plugin, last?.raw))
        : Buffer.from(JSON.stringify(made));
    last = parsePluginResult(stdout, `result of ${plugin.type}`);
  }
  if (last === undefined || last.ips.length === 0) {
    throw new AppError(`network ${conflist.name} gave no address`, { kind: "unavailable" });
  }
  return last;
}

/** What a plugin prints is its fault, not the caller's. */
function parsePluginResult(stdout: Buffer, what: string): CniResult {
  try {
    return parseResult(stdout, what, podInterface);
  } catch (cause) {
    throw new AppError(what, { kind: "unavailable", cause });
  }
}

interface DeleteOptions {
  readonly inProcess?: InProcessPlugins | undefined;
  /** It is the boot that they were made in, even if the namespace is gone. */
  readonly hasLinks?: boolean;
  /** Of the chain; the first plugin has made the interfaces. */
  readonly part?: "all" | "first" | "others";
}

/** Less than a kubelet waits for StopPodSandbox. */
const deleteMs = 100_000;
const minDeleteMs = 1_000;

/**
 * DEL in reverse order, with the result of ADD where it is known. Plugins make it idempotent. `hasNetns` false (after a reboot)
 * still gives back addresses and rules. All plugins are called even if one fails; the first failure is thrown. The time
 * is shared out, so that one that hangs leaves some for the others.
 */
export async function deleteFromNetwork(
  ctx: Context,
  pluginDirs: readonly string[],
  record: CniRecord,
  hasNetns: boolean,
  { inProcess, hasLinks = hasNetns, part = "all" }: DeleteOptions = {},
): Promise<void> {
  const end = performance.now() + deleteMs;
  let waiting = record.conflist.plugins.length;
  // With 0.3.x DEL had no prevResult.
  const prevResult = speaks(record.conflist, "0.4.0") ? record.result : undefined;
  const told = hasNetns ? record : { ...record, netnsPath: "" };
  const failures: unknown[] = [];
  for (const [i, plugin] of [...record.conflist.plugins.entries()].toReversed()) {
    const known = inProcess?.find(record, i, pluginDirs);
    if (known?.kind === "nothing" || part === (i === 0 ? "others" : "first")) continue;
    if (known && (await inProcess?.delete(ctx, known.plan, record, hasLinks))) continue;
    const timeoutMs = Math.max((end - performance.now()) / waiting--, minDeleteMs);
    try {
      const call = attachmentCall("DEL", pluginDirs, told, plugin, prevResult);
      await callPlugin(ctx, { ...call, timeoutMs });
      if (known) await inProcess?.deleteUnfinished(ctx, known.plan, record);
    } catch (err) {
      ctx.signal.throwIfAborted();
      failures.push(err);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** CHECK: throws when the network is not what ADD made it. Says nothing where the network cannot tell. */
export async function checkNetwork(
  ctx: Context,
  pluginDirs: readonly string[],
  record: CniRecord,
): Promise<void> {
  if (record.conflist.disableCheck || !speaks(record.conflist, "0.4.0")) return;
  for (const plugin of record.conflist.plugins) {
    await callPlugin(ctx, attachmentCall("CHECK", pluginDirs, record, plugin, record.result));
  }
}

/** STATUS: throws when a plugin says that it could not serve ADD now. Says nothing before version 1.1.0. */
export async function networkStatus(
  ctx: Context,
  pluginDirs: readonly string[],
  conflist: Conflist,
): Promise<void> {
  if (!speaks(conflist, "1.1.0")) return;
  for (const plugin of conflist.plugins) {
    const stdin = pluginInput(conflist, plugin);
    await callPlugin(ctx, {
      command: "STATUS",
      type: plugin.type,
      pluginDirs,
      env: {},
      stdin,
      timeoutMs: statusTimeoutMs,
    });
  }
}

/** GC: gives the plugins all attachments that are still in use, so that they free the rest. */
export async function collectNetworkGarbage(
  ctx: Context,
  pluginDirs: readonly string[],
  conflist: Conflist,
  attachments: readonly ValidAttachment[],
): Promise<void> {
  if (conflist.disableGc || !speaks(conflist, "1.1.0")) return;
  for (const plugin of conflist.plugins) {
    await callPlugin(ctx, {
      command: "GC",
      type: plugin.type,
      pluginDirs,
      env: {},
      stdin: {
        ...pluginInput(conflist, plugin),
        "cni.dev/valid-attachments": attachments,
      },
    });
  }
}

function attachmentCall(
  command: CniCommand,
  pluginDirs: readonly string[],
  record: CniRecord,
  plugin: PluginConfig,
  prevResult: JsonObject | undefined,
) {
  const wanted = Object.entries(record.runtimeConfig).filter(([key]) =>
    plugin.capabilities.includes(key),
  );
  return {
    command,
    type: plugin.type,
    pluginDirs,
    env: {
      CNI_CONTAINERID: record.sandboxId,
      CNI_NETNS: record.netnsPath,
      CNI_IFNAME: podInterface,
      CNI_ARGS: record.cniArgs,
      // Ours are Go programs that run for milliseconds: threads would cost them more than they bring.
      ...(record.embedded ? { GOMAXPROCS: "1" } : {}),
    },
    stdin: {
      ...pluginInput(record.conflist, plugin),
      ...(wanted.length > 0 ? { runtimeConfig: Object.fromEntries(wanted) } : {}),
      ...(prevResult === undefined ? {} : { prevResult }),
    },
  };
}

function pluginInput(conflist: Conflist, plugin: PluginConfig): JsonObject {
  return { ...plugin.config, name: conflist.name, cniVersion: conflist.cniVersion };
}
