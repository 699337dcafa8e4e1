import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { LogLimits } from "../runtime/runtime.ts";
import type { RestartPolicy } from "./restart-policy.ts";

/**
 * A standalone pod is one that no kubelet knows: one container in a sandbox of its own, as `crib run` makes them. The
 * daemon does for it what a kubelet does for its pods. Whether a pod is one is said by this record alone, which only
 * AdminService.RunPod makes: nothing in the configuration of a kubelet's pod makes it one.
 */
export interface StandalonePod extends StandaloneOptions {
  /** Its sandbox's. */
  readonly id: SandboxId;
  /** `undefined` while the pod is being made: its id has not been returned yet, and a restart removes it. */
  readonly containerId: ContainerId | undefined;
  /** A user has stopped it, and nobody has started it since. */
  readonly isStopped: boolean;
  /** Restarts by its policy since a user started it. */
  readonly restarts: number;
}

export interface StandaloneOptions {
  readonly restart: RestartPolicy;
  /** Remove the pod when its container has ended; an attended one when the client has left. */
  readonly remove: boolean;
  /** A client is there that the pod belongs to. */
  readonly isAttended: boolean;
  /** A size of 0 is without limit. */
  readonly log: LogLimits;
}
