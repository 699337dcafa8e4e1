import type { Hook, Hooks, Mount } from "../../gen/nri/v1alpha1/api_pb.ts";
import {
  type RuntimeSpec,
  type SpecHook,
  type SpecHookName,
  type SpecHooks,
  type SpecMount,
  type SpecProcess,
  specHookNames,
} from "../../oci/runtime-spec.ts";
import { compact } from "../message/compact.ts";
import { applyLinux } from "./apply-linux.ts";
import { overlayList, overlayMap } from "./marker.ts";
import type { Merged } from "./merge-adjustment.ts";
import { toIoPriority, toScheduler } from "./scheduling.ts";

/** The spec with everything that plugins want. */
export function applyAdjustment(spec: RuntimeSpec, adjustment: Merged): RuntimeSpec {
  const mounts = applyMounts(spec.mounts, adjustment.mounts);
  const annotations = overlayMap(spec.annotations ?? {}, adjustment.annotations);
  return {
    ...spec,
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    process: applyProcess(spec.process, adjustment),
    mounts,
    ...applyHooks(spec.hooks, adjustment.hooks),
    linux: applyLinux(spec.linux, adjustment.linux, mounts),
  };
}

function applyProcess(process: SpecProcess, adjustment: Merged): SpecProcess {
  const { args, env, rlimits } = adjustment;
  const { oomScoreAdj, ioPriority, scheduler } = adjustment.linux;
  const added = env.map(({ key, value }) => `${key}=${value}`);
  const limits = rlimits.map(({ type, hard, soft }) => ({
    type,
    hard: toLimit(hard),
    soft: toLimit(soft),
  }));
  return compact({
    ...process,
    args: args.length === 0 ? process.args : args,
    env: overlayList(process.env, added, (entry) => entry.slice(0, entry.indexOf("="))),
    rlimits: overlayList(process.rlimits ?? [], limits, ({ type }) => type),
    oomScoreAdj: oomScoreAdj === undefined ? process.oomScoreAdj : Number(oomScoreAdj.value),
    ioPriority: ioPriority === undefined ? process.ioPriority : toIoPriority(ioPriority),
    scheduler: scheduler === undefined ? process.scheduler : toScheduler(scheduler),
  });
}

/** No limit is 2^64 - 1 (getrlimit(2)), which JSON cannot say exactly: as much as it can say is as good. */
function toLimit(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

/** Parents before children. */
function applyMounts(
  mounts: readonly SpecMount[],
  changes: readonly Mount[],
): readonly SpecMount[] {
  if (changes.length === 0) return mounts;
  const wanted = changes.map(({ destination, type, source, options }) => ({
    destination,
    type,
    source,
    options,
  }));
  const depth = ({ destination }: SpecMount) => destination.split("/").length;
  return overlayList<SpecMount>(mounts, wanted, ({ destination }) => destination).sort(
    (a, b) => depth(a) - depth(b),
  );
}

function applyHooks(
  before: SpecHooks | undefined,
  change: Hooks | undefined,
): { readonly hooks?: SpecHooks } {
  if (change === undefined) return before === undefined ? {} : { hooks: before };
  const hooks: Partial<Record<SpecHookName, readonly SpecHook[]>> = { ...before };
  for (const name of specHookNames) {
    if (change[name].length === 0) continue;
    hooks[name] = [...(before?.[name] ?? []), ...change[name].map(toHook)];
  }
  return { hooks };
}

function toHook({ path, args, env, timeout }: Hook): SpecHook {
  return compact({
    path,
    args: args.length > 0 ? args : undefined,
    // Never empty: runc would take its own.
    env: env.length > 0 ? env : ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    timeout: timeout === undefined ? undefined : Number(timeout.value),
  });
}
