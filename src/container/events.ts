import type { Container } from "./container.ts";

/** What happens in the life of a container or a sandbox, in this order; each once. */
export type Transition = "created" | "started" | "stopped" | "deleted";

export interface ContainerEvent {
  readonly type: Transition;
  /** As it is after the event, or was before it was deleted. */
  readonly container: Container;
}

/** Gets every change at the moment it is recorded, by whoever recorded it. Never throws, never waits. */
export interface ContainerEvents {
  publish(event: ContainerEvent): void;
}
