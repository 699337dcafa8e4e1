import type { CgroupDriver } from "../cgroup/driver.ts";
import type { CgroupHost } from "../cgroup/host.ts";
import type { ImageStore } from "../image/image-store.ts";
import type { Context } from "../lib/context.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { KeyedMutex } from "../lib/keyed-mutex.ts";
import type { SingleFlight } from "../lib/single-flight.ts";
import type { LogLimits, Runtime } from "../runtime/runtime.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { ContainerTable } from "../state/containers.ts";
import type { IntentTable } from "../state/intents.ts";
import type { ContainerEvents } from "./events.ts";
import type { ExitWaiters } from "./exit-waiters.ts";
import type { ContainerPlugins } from "./plugins.ts";
import type { MountSources } from "./source/mount-sources.ts";
import type { AnnotationPatterns } from "./spec/annotations.ts";
import type { SpecHost } from "./spec/host.ts";
import type { PulledProfiles } from "./spec/security/seccomp.ts";

/** Which checkpoints may be restored here. */
export interface RestorePolicy {
  /** Archives below these directories; none: nothing is restored. */
  readonly directories: readonly string[];
  readonly maxBytes: number;
}

/** What the operations on containers use; built once by daemon/serve.ts. Each operation picks its part. */
export interface ContainerDeps {
  readonly stateDir: string;
  /** Where checkpoints are prepared, and kept for containers that are restored when they are started. */
  readonly checkpointDir: string;
  readonly restorePolicy: RestorePolicy;
  readonly containers: ContainerTable;
  readonly intents: IntentTable;
  /** What `write` changes in the tables is on disk together, or none of it. */
  readonly commit: (write: () => void) => void;
  readonly images: Pick<ImageStore, "find">;
  readonly snapshots: Snapshotter;
  /** By the name of their handler; the default one also under "". */
  readonly runtimes: ReadonlyMap<string, Runtime>;
  /** Of containers whose handler is not configured any more: they go on, end and are removed, and nothing else. */
  readonly leftRuntime: Runtime;
  /** Of handlers that let any through, by name, the default one also under "". */
  readonly annotationPatterns: ReadonlyMap<string, AnnotationPatterns>;
  /** How much of the logs of a sandbox's containers is kept; `undefined` where a kubelet sees to that. */
  readonly logLimits: (sandbox: SandboxId) => LogLimits | undefined;
  readonly cgroup: CgroupHost;
  readonly cgroupDriver: CgroupDriver;
  readonly host: SpecHost;
  readonly mountSources: MountSources;
  readonly profiles: PulledProfiles;
  /** Held while the state of one container is changed. */
  readonly locks: KeyedMutex<ContainerId>;
  /** Of what goes on after the call that began it: ends with the daemon. */
  readonly background: Context;
  /** The starts in progress: aborted when they outlast the container's process. */
  readonly starting: Map<ContainerId, AbortController>;
  readonly creations: SingleFlight<ContainerId>;
  readonly exits: ExitWaiters;
  readonly events: ContainerEvents;
  readonly plugins: ContainerPlugins;
  /** How long a runtime may take to create a task. */
  readonly createMs: number;
  /** The wall's: kubelets compare it with their own. Somebody may set it. */
  readonly clock: () => bigint;
  readonly bootId: string;
}
