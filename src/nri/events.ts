import type { DescMethod } from "@bufbuild/protobuf";
import { Event } from "../gen/nri/v1alpha1/api_pb.ts";

/** The methods of the service `Plugin` that a plugin subscribes to, with the event that each one is. */
export const events = {
  runPodSandbox: Event.RUN_POD_SANDBOX,
  updatePodSandbox: Event.UPDATE_POD_SANDBOX,
  postUpdatePodSandbox: Event.POST_UPDATE_POD_SANDBOX,
  stopPodSandbox: Event.STOP_POD_SANDBOX,
  removePodSandbox: Event.REMOVE_POD_SANDBOX,
  createContainer: Event.CREATE_CONTAINER,
  postCreateContainer: Event.POST_CREATE_CONTAINER,
  startContainer: Event.START_CONTAINER,
  postStartContainer: Event.POST_START_CONTAINER,
  updateContainer: Event.UPDATE_CONTAINER,
  postUpdateContainer: Event.POST_UPDATE_CONTAINER,
  stopContainer: Event.STOP_CONTAINER,
  removeContainer: Event.REMOVE_CONTAINER,
  validateContainerAdjustment: Event.VALIDATE_CONTAINER_ADJUSTMENT,
} as const;

export type EventName = keyof typeof events;

/** Older plugins know these as kinds of StateChange. Nothing but an empty response comes back. */
const stateChanges: ReadonlySet<EventName> = new Set([
  "runPodSandbox",
  "postUpdatePodSandbox",
  "stopPodSandbox",
  "removePodSandbox",
  "postCreateContainer",
  "startContainer",
  "postStartContainer",
  "postUpdateContainer",
  "removeContainer",
]);

export function isStateChange(name: EventName): boolean {
  return stateChanges.has(name);
}

/** The event that a method of the service `Plugin` is. */
export function eventOf({ localName }: DescMethod): EventName {
  if (Object.hasOwn(events, localName)) return localName as EventName;
  throw new RangeError(`${localName} is no event`);
}

/** A set of events as it is on the wire: event n is bit n - 1. */
export const allEvents = (1 << (Event.LAST - 1)) - 1;

export function has(mask: number, name: EventName): boolean {
  return (mask & (1 << (events[name] - 1))) !== 0;
}
