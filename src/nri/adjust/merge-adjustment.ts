import { create } from "@bufbuild/protobuf";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { specHookNames } from "../../oci/runtime-spec.ts";
import type { Claim, Owners } from "../owners.ts";
import { overlayList, overlayMap, parseKey } from "./marker.ts";
import { mergeResources } from "./merge-resources.ts";

const { Field } = nri;

/** What all plugins together want, in the form that one says it: a key with a minus in front is to be removed. */
export type Merged = nri.ContainerAdjustment & { linux: nri.LinuxContainerAdjustment };

export function noAdjustment(): Merged {
  const linux = create(nri.LinuxContainerAdjustmentSchema);
  return { ...create(nri.ContainerAdjustmentSchema), linux };
}

/**
 * Adds what a plugin wants to what those before it wanted. Throws where two set the same thing, unless the later one
 * removes it first.
 */
export function mergeAdjustment(
  before: Merged,
  change: nri.ContainerAdjustment,
  owners: Owners,
  plugin: string,
): Merged {
  const { list, map, single, claim } = mergers(owners, plugin);
  const linux = change.linux ?? create(nri.LinuxContainerAdjustmentSchema);
  const known = before.linux;
  const noResources = create(nri.LinuxResourcesSchema);
  return {
    ...before,
    annotations: map(Field.Annotations, before.annotations, change.annotations),
    mounts: list(Field.Mounts, before.mounts, change.mounts, ({ destination }) => destination),
    env: list(Field.Env, before.env, change.env, ({ key }) => key),
    args: mergeArgs(before.args, change.args, owners, plugin),
    hooks: mergeHooks(before.hooks, change.hooks, owners, plugin),
    rlimits: list(Field.Rlimits, before.rlimits, change.rlimits, ({ type }) => type),
    CDIDevices: list(Field.CdiDevices, before.CDIDevices, change.CDIDevices, ({ name }) => name),
    linux: {
      ...known,
      devices: list(Field.Devices, known.devices, linux.devices, ({ path }) => path),
      resources: mergeResources(
        known.resources ?? noResources,
        linux.resources ?? noResources,
        claim,
      ),
      cgroupsPath: single(Field.CgroupsPath, linux.cgroupsPath, known.cgroupsPath),
      oomScoreAdj: single(Field.OomScoreAdj, linux.oomScoreAdj, known.oomScoreAdj),
      ioPriority: single(Field.IoPriority, linux.ioPriority, known.ioPriority),
      seccompPolicy: single(Field.SeccompPolicy, linux.seccompPolicy, known.seccompPolicy),
      namespaces: list(Field.Namespace, known.namespaces, linux.namespaces, ({ type }) => type),
      sysctl: map(Field.Sysctl, known.sysctl, linux.sysctl),
      netDevices: map(Field.LinuxNetDevices, known.netDevices, linux.netDevices),
      scheduler: single(Field.LinuxSched, linux.scheduler, known.scheduler),
      rdt: mergeRdt(known.rdt, linux.rdt, owners, plugin),
      memoryPolicy: single(Field.MemoryPolicy, linux.memoryPolicy, known.memoryPolicy),
    },
  };
}

/** How the fields of each shape are merged, each with its claim. */
function mergers(owners: Owners, plugin: string) {
  const claim = (wanted: Claim) => owners.claim(wanted, plugin);

  function claimKeys(field: Claim["field"], keys: readonly string[]): void {
    const marked = keys.map(parseKey);
    for (const { key, isRemoval } of marked) if (isRemoval) owners.release({ field, key });
    for (const { key, isRemoval } of marked) if (!isRemoval) claim({ field, key });
  }

  function list<Item>(
    field: Claim["field"],
    base: readonly Item[],
    changes: readonly Item[],
    keyOf: (item: Item) => string,
  ): Item[] {
    claimKeys(field, changes.map(keyOf));
    const kept = overlayList(base, changes, keyOf);
    const set = new Set(kept.map(keyOf));
    const removals = changes.filter((item) => {
      const { key, isRemoval } = parseKey(keyOf(item));
      return isRemoval && !set.has(key);
    });
    return [...kept, ...removals];
  }

  function map<Value>(
    field: Claim["field"],
    base: Readonly<Record<string, Value>>,
    changes: Readonly<Record<string, Value>>,
  ): Record<string, Value> {
    claimKeys(field, Object.keys(changes));
    const kept = overlayMap(base, changes);
    const removals = Object.entries(changes).filter(([text]) => {
      const { key, isRemoval } = parseKey(text);
      return isRemoval && !Object.hasOwn(kept, key);
    });
    return { ...kept, ...Object.fromEntries(removals) };
  }

  function single<Value>(field: Claim["field"], value: Value, base: Value): Value {
    if (value === undefined || value === "") return base;
    claim({ field });
    return value;
  }

  return { claim, list, map, single };
}

/** An empty first argument says that the plugin knows of another that has set them before. */
function mergeArgs(
  before: string[],
  args: readonly string[],
  owners: Owners,
  plugin: string,
): string[] {
  if (args.length === 0) return before;
  const claim = { field: Field.Args };
  if (args[0] === "") owners.release(claim);
  owners.claim(claim, plugin);
  return args[0] === "" ? args.slice(1) : [...args];
}

/** Hooks are never in conflict: all of them run. */
function mergeHooks(
  before: nri.Hooks | undefined,
  change: nri.Hooks | undefined,
  owners: Owners,
  plugin: string,
): nri.Hooks | undefined {
  if (change === undefined || specHookNames.every((name) => change[name].length === 0))
    return before;
  owners.share(Field.OciHooks, plugin);
  const merged = create(nri.HooksSchema);
  for (const name of specHookNames) merged[name] = [...(before?.[name] ?? []), ...change[name]];
  return merged;
}

const rdtFields = {
  closId: Field.RdtClosID,
  schemata: Field.RdtSchemata,
  enableMonitoring: Field.RdtEnableMonitoring,
} as const;

function mergeRdt(
  before: nri.LinuxRdt | undefined,
  change: nri.LinuxRdt | undefined,
  owners: Owners,
  plugin: string,
): nri.LinuxRdt | undefined {
  if (change === undefined) return before;
  const base = change.remove || before === undefined ? create(nri.LinuxRdtSchema) : before;
  const merged = { ...base, remove: change.remove || base.remove };
  for (const name of Object.keys(rdtFields) as (keyof typeof rdtFields)[]) {
    const claim = { field: rdtFields[name] };
    if (change.remove) owners.release(claim);
    if (change[name] === undefined) continue;
    owners.claim(claim, plugin);
    Object.assign(merged, { [name]: change[name] });
  }
  return merged;
}
