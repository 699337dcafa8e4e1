import type { ContainerDeps } from "../container/deps.ts";
import type { SandboxId } from "../lib/id.ts";
import type { KeyedMutex } from "../lib/keyed-mutex.ts";
import type { SingleFlight } from "../lib/single-flight.ts";
import type { Network } from "../network/network.ts";
import type { OwnProgram } from "../os/process/command.ts";
import type { SandboxTable } from "../state/sandboxes.ts";
import type { LifecycleEvents } from "./events/events.ts";
import type { SandboxPlugins } from "./plugins.ts";

/** What the operations on sandboxes use: all that containers use, and the network. */
export interface SandboxDeps extends ContainerDeps {
  readonly sandboxes: SandboxTable;
  readonly network: Network;
  readonly events: LifecycleEvents;
  readonly plugins: SandboxPlugins;
  /** The static program that holds a shared PID namespace. */
  readonly pausePath: string;
  /** A pod with a network of its own gets a process of its own at once, by which cAdvisor finds the network. */
  readonly processPerNetwork: boolean;
  /** The static program that makes namespaces. */
  readonly namespacesProgram: OwnProgram;
  /** Why this node cannot give pods user namespaces; `undefined` where it can. */
  readonly userNamespaces: string | undefined;
  /** Held while a sandbox is run, stopped or removed, or its infra container started. */
  readonly sandboxLocks: KeyedMutex<SandboxId>;
  /** Those that somebody waits to stop or remove: nothing new is created in them. */
  readonly stopping: Set<SandboxId>;
  readonly runs: SingleFlight<SandboxId>;
}
