import type { Container } from "../../container/container.ts";
import type { ContainerEvent, Transition } from "../../container/events.ts";
import type { ContainerId, SandboxId } from "../../lib/id.ts";
import type { Sandbox } from "../sandbox.ts";

export interface SandboxEvent {
  readonly type: Transition;
  /** As it is after the event, or was before it was deleted. */
  readonly sandbox: Sandbox;
}

export type LifecycleEvent = ContainerEvent | SandboxEvent;

/** An event with the whole pod as it was then. Values are immutable, so that this costs a few references. */
export interface PodEvent {
  readonly type: Transition;
  /** Of what it happened to: the container, or the sandbox itself. */
  readonly id: ContainerId | SandboxId;
  readonly atNs: bigint;
  /** Absent when it was removed together with its last container. */
  readonly sandbox: Sandbox | undefined;
  readonly containers: readonly Container[];
}

/** Gets every change at the moment it is recorded, by whoever recorded it. Never throws, never waits. */
export interface LifecycleEvents {
  publish(event: LifecycleEvent): void;
}
