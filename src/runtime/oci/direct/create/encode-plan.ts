import { posix } from "node:path";
import type { CreatePlan } from "./plan-create.ts";
import { propagationOf, type RootOperation } from "./root-filesystem.ts";

/** As `create` reads it. */
export const maxPlanBytes = 1 << 20;
const maxStrings = 1 << 14;
/** What it gives to the keyring of a container: its own user may search it. */
const searchByUser = 0x8_0000;

type Word = string | number | bigint | boolean;

/** The file that `create` reads, in its order (embed/pause/create.c); `undefined` for one that is too large. */
export function encodePlan(
  plan: CreatePlan,
  filter:
    | { readonly instructions: Uint8Array; readonly length: number; readonly flags: number }
    | undefined,
): Uint8Array | undefined {
  const { container, process } = plan;
  if (plan.args.length >= maxStrings || process.env.length >= maxStrings) return undefined;
  const words: readonly Word[] = [
    ...[filter?.length ?? 0, filter?.flags ?? 0],
    process.oomScoreAdj,
    ...[container.runcRoot, `${container.runcRoot}/${container.id}`],
    ...[plan.state, container.pidFile],
    ...cgroupWords(plan),
    ...[plan.pidNamespace.isNew, plan.pidNamespace.path],
    plan.cgroup.unified,
    plan.cgroup.files.length,
    ...plan.cgroup.files.flatMap(({ kind, directory, name, value }) => [
      ...[kind === "write" ? "w" : "c", directory, name, value],
    ]),
    ...list(plan.cgroup.joined),
    container.consoleSocket ?? "",
    plan.givenNamespaces.length,
    ...plan.givenNamespaces.flatMap(({ flag, path }) => [flag, path]),
    plan.newNamespaces,
    plan.hostname,
    ...[process.keyring, searchByUser],
    ...rootWords(plan),
    process.noNewPrivileges,
    process.limits.length,
    ...process.limits.flatMap(({ resource, soft, hard }) => [resource, soft, hard]),
    ...[process.uid, process.gid],
    ...list(process.groups),
    ...capabilityWords(plan),
    ...list(plan.programs),
    ...list(plan.args),
    ...list(process.env),
  ];
  const text = Buffer.from(words.map((word) => `${wordText(word)}\0`).join(""), "utf8");
  const bytes = filter === undefined ? text : Buffer.concat([text, filter.instructions]);
  return bytes.byteLength > maxPlanBytes ? undefined : bytes;
}

function wordText(word: Word): string {
  return typeof word === "boolean" ? String(Number(word)) : String(word);
}

function list(words: readonly Word[]): readonly Word[] {
  return [words.length, ...words];
}

function cgroupWords({ cgroup }: CreatePlan): readonly Word[] {
  return [
    cgroup.directories.length,
    ...cgroup.directories.flatMap(({ path, rootLength }) => [
      ...[path, rootLength],
      ...(rootLength > 0 ? [cgroup.cpus, cgroup.mems] : []),
    ]),
  ];
}

function rootWords({ root, process, hasTerminal }: CreatePlan): readonly Word[] {
  return [
    ...[root.path, root.propagation, root.parentPropagation],
    root.operations.length,
    ...root.operations.flatMap(operationWords),
    ...[root.makesDevices, root.ownPropagation],
    ...[process.cwd, hasTerminal],
    root.readonlyMounts.length,
    ...root.readonlyMounts.flatMap(({ path, set, clear }) => [path, set, clear]),
    root.isReadonly,
    ...list(root.readonlyPaths),
    ...list(root.maskedPaths),
  ];
}

function operationWords(operation: RootOperation): readonly Word[] {
  switch (operation.kind) {
    case "file system": {
      const { type, source, target, mustBePlain, attributes, options, propagation } = operation;
      return [
        ...["m", type, source, target, mustBePlain, attributes],
        ...list(options),
        ...propagationWords(propagation),
      ];
    }
    case "bind": {
      const { source, target, isRecursive, propagation, attributes, below } = operation;
      return [
        ...["b", source, target, isRecursive],
        ...propagationWords(propagation),
        ...[attributes.set, attributes.clear, below.set, below.clear],
      ];
    }
    case "device": {
      const { path, mode, device, uid, gid } = operation;
      return ["n", posix.dirname(path), posix.basename(path), mode, device, uid, gid];
    }
    case "link": {
      const { path, target, replaces } = operation;
      return ["l", posix.dirname(path), posix.basename(path), target, replaces];
    }
  }
}

function propagationWords(flags: readonly number[]): readonly Word[] {
  return [
    flags.length,
    ...flags.map(propagationOf).flatMap(({ recursive, kind }) => [recursive, kind]),
  ];
}

function capabilityWords({ process: { capabilities } }: CreatePlan): readonly Word[] {
  const { bounding, effective, permitted, inheritable, ambient } = capabilities;
  return [bounding, effective, permitted, inheritable, ambient];
}
