import type { Argv } from "../../../os/process/spawn.ts";
import { candidates, type ExecPlan } from "./plan.ts";

/** The instructions of `enter`, in the order in which it reads (embed/pause/enter.c). */
export function enterArguments(
  plan: ExecPlan,
  filter: { readonly length: number; readonly flags: number } | undefined,
  args: readonly string[],
): Argv {
  const programs = candidates(plan.searchPath, args[0] ?? "");
  const { bounding, effective, permitted, inheritable, ambient } = plan.capabilities;
  const numbers = [
    plan.cgroupFiles.length,
    plan.limits.length,
    ...plan.limits.flatMap(({ resource, soft, hard }) => [resource, soft, hard]),
    ...[filter?.length ?? 0, filter?.flags ?? 0],
    ...[plan.ownNamespaces, plan.givenNamespaces.length],
    ...plan.givenNamespaces.map(({ flag }) => flag),
    Number(plan.noNewPrivileges),
    ...[plan.uid, plan.gid, plan.groups.length, ...plan.groups],
    ...[bounding, effective, permitted, inheritable, ambient],
    programs.length,
  ];
  return [
    "enter",
    numbers.join(" "),
    String(plan.oomScoreAdj),
    ...plan.cgroupFiles,
    ...plan.givenNamespaces.map(({ path }) => path),
    plan.keyring,
    plan.cwd,
    ...programs,
    ...args,
  ];
}
