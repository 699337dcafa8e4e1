import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { SpecMemoryPolicy, SpecProcess, SpecScheduler } from "../../oci/runtime-spec.ts";
import { compact } from "../message/compact.ts";
import { toNumber } from "../message/resources.ts";

/** ioprio_set(2) */
export function toIoPriority({
  class: number,
  priority,
}: nri.LinuxIOPriority): NonNullable<SpecProcess["ioPriority"]> {
  return { class: nameOf(nri.IOPrioClass, number), priority };
}

export function toScheduler(scheduler: nri.LinuxScheduler): SpecScheduler {
  const { policy, nice, priority, flags, runtime, deadline, period } = scheduler;
  return compact({
    policy: nameOf(nri.LinuxSchedulerPolicy, policy),
    nice,
    priority,
    flags: flags.length > 0 ? flags.map((flag) => nameOf(nri.LinuxSchedulerFlag, flag)) : undefined,
    runtime: toNumber(runtime, "scheduler runtime"),
    deadline: toNumber(deadline, "scheduler deadline"),
    period: toNumber(period, "scheduler period"),
  });
}

export function toMemoryPolicy({ mode, nodes, flags }: nri.LinuxMemoryPolicy): SpecMemoryPolicy {
  return compact({
    mode: nameOf(nri.MpolMode, mode),
    nodes,
    flags: flags.length > 0 ? flags.map((flag) => nameOf(nri.MpolFlag, flag)) : undefined,
  });
}

/** The names of these enums are those of the kernel and of the runtime-spec. */
function nameOf(names: Readonly<Record<string, number>>, number: number): string {
  const name = Object.entries(names).find(([, value]) => value === number)?.[0];
  if (name === undefined) throw invalidArgument(`NRI: unknown value ${number}`);
  return name;
}
