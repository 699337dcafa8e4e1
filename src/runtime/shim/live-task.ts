import type { CpuRate } from "../../cgroup/stats/cpu-rate.ts";
import type { TaskExit, TaskReference } from "../runtime.ts";
import type { ShimAddress } from "./bootstrap.ts";
import type { ShimLog } from "./shim-log.ts";

/** A task that this daemon has to do with: created by it, or recovered. */
export interface LiveTask extends Omit<TaskReference, "record"> {
  readonly log: ShimLog;
  /** It has streams, which a monitor reads; a pod's own task has none. */
  readonly hasStreams: boolean;
  readonly terminal: boolean;
  readonly rate: CpuRate;
  readonly end: PromiseWithResolvers<TaskExit>;
  /** Aborts when nobody wants to know of the task any more. */
  readonly forgotten: AbortController;
  /** The creation or the start in progress, to be ended. */
  underWay: AbortController | undefined;
  address: ShimAddress | undefined;
  pid: number;
  /** Why it could not be created: the reason of `start`. */
  failure: Error | undefined;
  /** Its program runs, or has run. */
  isStarted: boolean;
  /** Settles when a task that was never started has been deleted: some shims tell no end of such. */
  readonly dropped: PromiseWithResolvers<void>;
  /** The shim has reported the end, or died; the log may not be complete. */
  isEnding: boolean;
  /** The shim has forgotten it. */
  isDeleted: boolean;
  exit: TaskExit | undefined;
}
