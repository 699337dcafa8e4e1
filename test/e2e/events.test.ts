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

/** Subscribers that listen, as nobody says when they begin to: all have seen a pod of before, and know of it no more. */
async function listening(daemon: Daemon, logs: string, count = 1) {
  const watchers = Array.from({ length: count }, () => watch(daemon.cri));
  await eventually(async () => {
    const id = await runBriefly(daemon, logs);
    for (const { of } of watchers) expect(of(id).at(-1)).toBe(Type.CONTAINER_DELETED_EVENT);
  });
  for (const { events } of watchers) events.length = 0;
  return watchers;
}

async function runBriefly({ cri }: Daemon, logs: string): Promise<string> {
  const { id } = await runPod(cri, logs);
  await cri.runtime.stopPodSandbox({ podSandboxId: id });
  await cri.runtime.removePodSandbox({ podSandboxId: id });
  return id;
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
  const watchers = await listening(daemon, logs.path, 3);
  const [first] = watchers;
  if (first === undefined) throw new Error("nobody listens");
  const pod = await runPod(daemon.cri, logs.path);
  const brief = await startScript(daemon.cri, pod, "exit 3");
  const long = await startScript(daemon.cri, pod, "sleep 1000");
  await eventually(() => {
    if (!first.of(brief).includes(Type.CONTAINER_STOPPED_EVENT)) throw new Error("runs");
  });
  await daemon.cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
  for (const { of } of watchers) {
    await eventually(() => expect(of(pod.id)).toEqual(wholeLife));
    expect(of(brief)).toEqual(wholeLife);
    expect(of(long)).toEqual(wholeLife);
  }

  const { events } = first;
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
  const [watcher] = await listening(daemon, logs.path);
  if (watcher === undefined) throw new Error("nobody listens");
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
  const [watcher] = await listening(daemon, logs.path);
  if (watcher === undefined) throw new Error("nobody listens");
  const pod = await runPod(daemon.cri, logs.path);
  const id = await createScript(daemon.cri, pod, "exit 0");
  await daemon.cri.runtime.removeContainer({ containerId: id });
  await eventually(() => {
    expect(watcher.of(id)).toEqual(wholeLife.filter((one) => one !== Type.CONTAINER_STARTED_EVENT));
  });
  watcher.leave();
});

test("subscriptions end with the daemon, which does not wait for them", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start();
  const [watcher] = await listening(daemon, logs.path);
  await daemon.end("SIGTERM");
  await watcher?.ended;
  expect(daemon.exitCode).toBe(0);
  expect(daemon.log).not.toContain("calls in progress aborted");
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
  let isHeard = false;
  call.on("response", () => {
    isHeard = true;
  });
  call.end(Buffer.alloc(5));
  // Headers come with the first event, and need no window.
  await eventually(async () => {
    await runBriefly(daemon, logs.path);
    expect(isHeard).toBe(true);
  });
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
