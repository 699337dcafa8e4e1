import { describe, expect, test } from "bun:test";
import { container, sandbox } from "../../../test/harness/cri-domain.ts";
import type { Container } from "../../container/container.ts";
import { kindOf } from "../../lib/errors.ts";
import { EventHub, type EventHubOptions } from "./event-hub.ts";
import type { PodEvent } from "./events.ts";

function openHub(options: Partial<EventHubOptions> = {}) {
  const pod = sandbox();
  const containers: Container[] = [];
  const closing = new AbortController();
  let now = 0n;
  const hub = new EventHub({
    findSandbox: (id) => (id === pod.id ? pod : undefined),
    listContainers: () => containers,
    clock: () => ++now,
    signal: closing.signal,
    ...options,
  });
  return { hub, pod, containers, closing };
}

async function take(events: AsyncIterator<PodEvent>, count: number): Promise<PodEvent[]> {
  const taken: PodEvent[] = [];
  while (taken.length < count) {
    const next = await events.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}

const never = () => new AbortController().signal;
const iterate = (events: AsyncIterable<PodEvent>) => events[Symbol.asyncIterator]();

describe("EventHub", () => {
  test("notifies every subscriber in order, with the pod as it was then", async () => {
    const { hub, pod, containers } = openHub();
    const [first, second] = [iterate(hub.subscribe(never())), iterate(hub.subscribe(never()))];
    const one = container(pod.id, { state: { name: "created", pid: 1 } });
    hub.publish({ type: "created", sandbox: pod });
    containers.push(one);
    hub.publish({ type: "created", container: one });
    containers.pop();
    hub.publish({ type: "deleted", container: one });
    for (const events of [first, second]) {
      const [a, b, c] = await take(events, 3);
      expect(a).toEqual({ type: "created", id: pod.id, atNs: 1n, sandbox: pod, containers: [] });
      expect(b).toMatchObject({ type: "created", id: one.id, atNs: 2n, sandbox: pod });
      expect(b?.containers).toEqual([one]);
      expect(c).toMatchObject({ type: "deleted", id: one.id, atNs: 3n });
      expect(c?.containers).toEqual([]);
    }
  });

  test("has no sandbox for a container whose pod is gone, and all of it for the pod itself", async () => {
    const { hub } = openHub();
    const events = iterate(hub.subscribe(never()));
    const other = sandbox();
    hub.publish({ type: "stopped", container: container(other.id) });
    hub.publish({ type: "deleted", sandbox: other });
    const [a, b] = await take(events, 2);
    expect(a?.sandbox).toBeUndefined();
    expect(b?.sandbox).toBe(other);
  });

  test("begins with the subscription, not with the first read, and wakes who waits", async () => {
    const { hub, pod } = openHub();
    hub.publish({ type: "created", sandbox: pod });
    const events = iterate(hub.subscribe(never()));
    const waiting = take(events, 1);
    await Bun.sleep(1);
    hub.publish({ type: "started", sandbox: pod });
    expect((await waiting).map(({ type }) => type)).toEqual(["started"]);
  });

  test("cuts off who does not keep up, and nobody else", async () => {
    const { hub, pod } = openHub({ maxBacklog: 3, maxSubscribers: 2 });
    const [slow, quick] = [iterate(hub.subscribe(never())), iterate(hub.subscribe(never()))];
    for (let i = 0; i < 4; i++) {
      hub.publish({ type: "started", sandbox: pod });
      expect(await take(quick, 1)).toHaveLength(1);
    }
    hub.subscribe(never()); // in its place
    const failed = await slow.next().catch((err: unknown) => kindOf(err));
    expect(failed).toBe("resource-exhausted");
    expect(await slow.next()).toMatchObject({ done: true });
  });

  test("bounds the number of subscribers; who leaves makes room", () => {
    const { hub } = openHub({ maxSubscribers: 2 });
    const leaving = new AbortController();
    hub.subscribe(never());
    hub.subscribe(leaving.signal);
    expect(() => hub.subscribe(never())).toThrow("2 subscribers");
    leaving.abort();
    hub.subscribe(never());
  });

  test("ends every subscription with the daemon, without an error", async () => {
    const { hub, closing } = openHub();
    const events = iterate(hub.subscribe(never()));
    const waiting = events.next();
    closing.abort();
    expect(await waiting).toMatchObject({ done: true });
    expect(await iterate(hub.subscribe(never())).next()).toMatchObject({ done: true });
  });

  test("notifies listeners at once, also without subscribers", () => {
    const { hub, pod } = openHub();
    const seen: string[] = [];
    hub.onEvent(({ type }) => seen.push(type));
    hub.publish({ type: "stopped", sandbox: pod });
    expect(seen).toEqual(["stopped"]);
  });
});
