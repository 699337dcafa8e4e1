import type { CgroupHost } from "../../cgroup/host.ts";
import type { Monitors } from "../monitor/monitors.ts";
import type { OutputPool } from "../output-pool.ts";
import type { RuntimeFeatures } from "../runtime.ts";
import type { ShimEvents } from "./events.ts";
import type { RunscConfig, ShimKind } from "./options.ts";
import type { ShimProgram } from "./shim-program.ts";

export interface ShimRuntimeOptions {
  readonly name: string;
  readonly program: ShimProgram;
  readonly kind: ShimKind;
  readonly features: RuntimeFeatures;
  /** Of gVisor. */
  readonly runsc: RunscConfig | undefined;
  readonly stateDir: string;
  readonly monitors: ShimMonitors;
  readonly cgroup: CgroupHost;
  readonly events: ShimEvents;
  readonly output: OutputPool;
}

export type ShimMonitors = Pick<
  Monitors,
  "attach" | "ended" | "forget" | "list" | "openStreams" | "reopenLog"
>;
