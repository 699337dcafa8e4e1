import type { CgroupHost } from "../../cgroup/host.ts";
import type { OpenCgroups } from "../../cgroup/stats/open-cgroups.ts";
import type { Monitors } from "../monitor/monitors.ts";
import type { OutputPool } from "../output-pool.ts";
import type { Reaper } from "../reaper.ts";
import type { DirectCreate } from "./direct/create/direct-create.ts";
import type { DirectExec } from "./direct/direct-exec.ts";
import type { Filters } from "./direct/filters.ts";
import type { PreparedExecs } from "./prepared-execs.ts";
import type { TaskExits } from "./task-exits.ts";

/** What all OCI programs of a node have in common. */
export interface OciNode {
  readonly monitors: Monitors;
  /** What the monitors report is given to it. */
  readonly exits: TaskExits;
  readonly reaper: Reaper;
  readonly cgroup: CgroupHost;
  readonly cgroups: OpenCgroups;
  /** Absent where the programs run all commands in containers. */
  readonly direct: { readonly exec: DirectExec; readonly prepared: PreparedExecs } | undefined;
  /** Absent where the programs make all containers. */
  readonly directCreate: DirectCreate | undefined;
  /** Compiled seccomp profiles. */
  readonly filters: Pick<Filters, "instructions">;
  readonly execOutput: OutputPool;
  /** How long `create` of a program may take. */
  readonly createMs: number;
  /** A directory with a short path, for sockets. */
  readonly socketDir: string;
}
