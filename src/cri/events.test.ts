import { expect, test } from "bun:test";
import { openClients } from "../../test/harness/cri-clients.ts";
import { container, openDomain, sandbox } from "../../test/harness/cri-domain.ts";
import { ContainerEventType, ContainerState, PodSandboxState } from "../gen/runtime/v1/api_pb.ts";

test("an event has the whole pod's status with it", async () => {
  const domain = openDomain();
  const pod = sandbox({ state: "ready", ips: ["10.0.0.2"] });
  const old = container(pod.id, { createdAtNs: 1n });
  const state = { name: "running", pid: 1, startedAtNs: 7n } as const;
  const one = container(pod.id, { createdAtNs: 2n, state });
  domain.happened.push(
    { type: "started", id: one.id, atNs: 5n, sandbox: pod, containers: [old, one] },
    { type: "deleted", id: one.id, atNs: 6n, sandbox: undefined, containers: [] },
  );
  const events = [];
  for await (const event of openClients(domain).runtime.getContainerEvents({})) events.push(event);
  expect(events[0]).toMatchObject({
    containerId: one.id,
    containerEventType: ContainerEventType.CONTAINER_STARTED_EVENT,
    createdAt: 5n,
    podSandboxStatus: {
      ...{ id: pod.id, state: PodSandboxState.SANDBOX_READY, network: { ip: "10.0.0.2" } },
      metadata: { uid: "u-1" },
    },
    containersStatuses: [
      { id: one.id, state: ContainerState.CONTAINER_RUNNING, startedAt: 7n, imageId: one.imageId },
      { id: old.id },
    ],
  });
  expect(events[1]?.containerEventType).toBe(ContainerEventType.CONTAINER_DELETED_EVENT);
  expect(events[1]?.podSandboxStatus).toBeUndefined();
});
