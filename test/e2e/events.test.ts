import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import type { Cri } from "../harness/cri.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { createScript, runPod, startScript } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const Type = pb.ContainerEventType;

/** A subscriber, as a kubelet's evented PLEG is one. */
function watch(cri: Cri) {
  const leaving = new AbortController();
  const events: pb.ContainerEventResponse[] = [];
  const ended = (async () => {
    try {
      const stream = cri.runtime.getContainerEvents({}, { signal: leaving.signal });
      for await (const event of stream) events.push(event);
      return undefined;
    } catch (err) {
      return ConnectError.from(err).code;
    }
  })();
  const of = (id: string) =>
    events
      .filter(({ containerId }) => containerId === id)
      .map(({ containerEventType }) => containerEventType);
  return { events, of, ended, leave: () => leaving.abort() };
}

const wholeLife = [
  Type.CONTAINER_CREATED_EVENT,
  Type.CONTAINER_STARTED_EVENT,
  Type.CONTAINER_STOPPED_EVENT,
  Type.CONTAINER_DELETED_EVENT,
];

test("events tell the life of pods and containers in order, to everybody who listens", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const watchers = [watch(daemon.cri), watch(daemon.cri), watch(daemon.cri)] as const;
  await Bun.sleep(300);
  const pod = await runPod(daemon.cri, logs.path);
  const brief = await startScript(daemon.cri, pod, "exit 3");
  const long = await startScript(daemon.cri, pod, "sleep 1000");
  await eventually(() => {
    if (!watchers[0].of(brief).includes(Type.CONTAINER_STOPPED_EVENT)) throw new Error("runs");
  });
  await daemon.cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
  for (const { of } of watchers) {
    await eventually(() => expect(of(pod.id)).toEqual(wholeLife));
    expect(of(brief)).toEqual(wholeLife);
    expect(of(long)).toEqual(wholeLife);
  }

  const { events } = watchers[0];
  for (const [i, { createdAt, podSandboxStatus }] of events.entries()) {
    if (i > 0) expect(createdAt).toBeGreaterThan(events[i - 1]?.createdAt ?? 0n);
    expect(podSandboxStatus?.metadata?.uid).toBe(pod.config.metadata?.uid ?? "");
    expect(podSandboxStatus?.network?.ip).not.toBe("");
  }
  const exit = events.find(
    ({ containerId, containerEventType }) =>
      containerId === brief && containerEventType === Type.CONTAINER_STOPPED_EVENT,
  );
  const status = exit?.containersStatuses.find(({ id }) => id === brief);
  expect(status).toMatchObject({ state: pb.ContainerState.CONTAINER_EXITED, exitCode: 3 });
  expect(events.at(-1)).toMatchObject({ containerId: pod.id, containersStatuses: [] });
  for (const watcher of watchers) {
    watcher.leave();
    expect(await watcher.ended).toBe(Code.Canceled);
  }
});

test("the death of the process that holds a shared PID namespace is an event", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const watcher = watch(daemon.cri);
  await Bun.sleep(300);
  const linux = { securityContext: { namespaceOptions: { pid: pb.NamespaceMode.POD } } };
  const pod = await runPod(daemon.cri, logs.path, { linux });
  const id = await startScript(daemon.cri, pod, "sleep 1000", { linux });
  const { info } = await daemon.cri.runtime.podSandboxStatus({
    podSandboxId: pod.id,
    verbose: true,
  });
  process.kill((JSON.parse(info["info"] ?? "{}") as { pid: number }).pid, "SIGKILL");
  await eventually(() => {
    expect(watcher.of(pod.id).at(-1)).toBe(Type.CONTAINER_STOPPED_EVENT);
    expect(watcher.of(id).at(-1)).toBe(Type.CONTAINER_STOPPED_EVENT);
  });
  expect(watcher.events.at(-1)?.podSandboxStatus?.state).toBe(pb.PodSandboxState.SANDBOX_NOTREADY);
  watcher.leave();
});

test("a container that cannot be started is created and stopped, and one never started is stopped", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const watcher = watch(daemon.cri);
  await Bun.sleep(300);
  const pod = await runPod(daemon.cri, logs.path);
  const id = await createScript(daemon.cri, pod, "exit 0");
  await daemon.cri.runtime.removeContainer({ containerId: id });
  await eventually(() => {
    expect(watcher.of(id)).toEqual(wholeLife.filter((one) => one !== Type.CONTAINER_STARTED_EVENT));
  });
  watcher.leave();
});

test("subscriptions end with the daemon, which does not wait for them", async () => {
  await using daemon = await Daemon.start();
  const watcher = watch(daemon.cri);
  await Bun.sleep(300);
  const began = performance.now();
  await daemon.end("SIGTERM");
  expect(performance.now() - began).toBeLessThan(5_000);
  await watcher.ended;
});

test("a subscriber that does not read is cut off and costs the daemon nothing", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const session = connect("http://localhost", {
    createConnection: () => connectSocket(daemon.socket),
    settings: { initialWindowSize: 0 }, // takes no byte of any answer
  });
  session.on("error", () => {});
  const call = session.request({
    ...{ ":method": "POST", ":path": "/runtime.v1.RuntimeService/GetContainerEvents" },
    ...{ "content-type": "application/grpc", te: "trailers" },
  });
  call.on("error", () => {});
  call.end(Buffer.alloc(5));
  await Bun.sleep(500);
  const pod = await runPod(daemon.cri, logs.path, {
    annotations: { large: "x".repeat(200_000) },
  });
  const before = anonymousBytes(daemon.pid);
  const ids: string[] = [];
  for (let i = 0; i < 30; i++) ids.push(await createScript(daemon.cri, pod, "exit 0"));
  for (const id of ids) await daemon.cri.runtime.removeContainer({ containerId: id });
  // 90 events of over 200 kB and up to 30 statuses each.
  expect(anonymousBytes(daemon.pid) - before).toBeLessThan(30 << 20);
  session.destroy();
  const files = () => readdirSync(`/proc/${daemon.pid}/fd`).length;
  const open = files();
  await eventually(() => expect(files()).toBeLessThanOrEqual(open));
});

function anonymousBytes(pid: number): number {
  const [, kib = "0"] =
    /^Anonymous:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "latin1")) ?? [];
  return Number(kib) << 10;
}
