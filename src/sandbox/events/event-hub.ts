import type { Container } from "../../container/container.ts";
import { AppError } from "../../lib/errors.ts";
import type { SandboxId } from "../../lib/id.ts";
import type { Sandbox } from "../sandbox.ts";
import type { LifecycleEvent, LifecycleEvents, PodEvent } from "./events.ts";
import { Subscription } from "./subscription.ts";

export interface EventHubOptions {
  readonly findSandbox: (id: SandboxId) => Sandbox | undefined;
  readonly listContainers: () => readonly Container[];
  /** Always moves on: a kubelet takes an event only if it is newer than the last. */
  readonly clock: () => bigint;
  /** Ends every subscription. */
  readonly signal: AbortSignal;
  readonly maxSubscribers?: number;
  readonly maxBacklog?: number;
}

// A node has one kubelet; others are people and tests.
const defaultSubscribers = 64;
// Ten for each of a hundred pods that start at once.
const defaultBacklog = 1000;

/**
 * Passes on what happens to sandboxes and containers, in order. A subscriber gets every event from its subscription
 * on; one that does not keep up loses its subscription, not single events, and has to look at everything anew.
 */
export class EventHub implements LifecycleEvents {
  readonly #options: EventHubOptions;
  readonly #subscriptions = new Set<Subscription>();
  readonly #listeners: ((event: LifecycleEvent) => void)[] = [];

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  get subscribers(): number {
    return this.#subscriptions.size;
  }

  publish(event: LifecycleEvent): void {
    for (const listener of this.#listeners) listener(event);
    if (this.#subscriptions.size === 0) return;
    const podEvent = this.#withPod(event);
    for (const subscription of this.#subscriptions) {
      if (!subscription.add(podEvent)) this.#subscriptions.delete(subscription);
    }
  }

  /** For parts of the daemon that keep something open of a container or sandbox. Called at once, and must not throw. */
  onEvent(listener: (event: LifecycleEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** Begins now, not with the first `next()`. Throws `resource-exhausted` when there are too many, or when it was too slow. */
  subscribe(signal: AbortSignal): AsyncIterable<PodEvent> {
    const { maxSubscribers = defaultSubscribers, maxBacklog = defaultBacklog } = this.#options;
    if (this.#subscriptions.size >= maxSubscribers) {
      throw new AppError(`${maxSubscribers} subscribers of events are there already`, {
        kind: "resource-exhausted",
      });
    }
    const end = AbortSignal.any([signal, this.#options.signal]);
    const subscription = new Subscription(maxBacklog);
    this.#subscriptions.add(subscription);
    const leave = () => this.#subscriptions.delete(subscription);
    end.addEventListener("abort", leave, { once: true });
    if (end.aborted) leave();
    return subscription.events(end, leave);
  }

  #withPod(event: LifecycleEvent): PodEvent {
    const { findSandbox, listContainers, clock } = this.#options;
    const { type } = event;
    const [id, sandboxId, sandbox] =
      "sandbox" in event
        ? [event.sandbox.id, event.sandbox.id, event.sandbox]
        : [event.container.id, event.container.sandboxId, findSandbox(event.container.sandboxId)];
    const containers = listContainers().filter((container) => container.sandboxId === sandboxId);
    return { type, id, atNs: clock(), sandbox, containers };
  }
}
