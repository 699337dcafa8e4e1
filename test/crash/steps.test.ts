import { afterAll, beforeAll, expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "../harness/eventually.ts";
import { type Fault, FaultyDaemon } from "../harness/faulty-daemon.ts";
import { leftOvers } from "../harness/leaks.ts";
import { demoImage } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

let faulty: FaultyDaemon;
const dir = tempDir();
beforeAll(async () => {
  faulty = await FaultyDaemon.start();
});
afterAll(async () => {
  await faulty[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

let pods = 0;

/** The calls of a pod's life, in order. Each may be made again until it succeeds, as a kubelet does. */
function life() {
  const { runtime } = faulty.daemon.cri;
  const name = `pod-${pods++}`;
  const config = create(pb.PodSandboxConfigSchema, {
    metadata: { name, namespace: "test", uid: name },
    logDirectory: dir.path,
  });
  const containerConfig = create(pb.ContainerConfigSchema, {
    metadata: { name: "main" },
    image: { image: demoImage },
    command: ["sleep", "1000"],
    logPath: `${name}.log`,
    linux: {},
  });
  const made = { podSandboxId: "", containerId: "" };
  const ids: string[] = [];
  const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
    [
      "RunPodSandbox",
      async () => {
        made.podSandboxId = (await runtime.runPodSandbox({ config })).podSandboxId;
        ids.push(made.podSandboxId);
      },
    ],
    [
      "CreateContainer",
      async () => {
        const { podSandboxId } = made;
        const request = { podSandboxId, config: containerConfig, sandboxConfig: config };
        made.containerId = (await runtime.createContainer(request)).containerId;
        ids.push(made.containerId);
      },
    ],
    ["StartContainer", () => runtime.startContainer(made)],
    ["StopContainer", () => runtime.stopContainer({ ...made, timeout: 1n })],
    ["RemoveContainer", () => runtime.removeContainer(made)],
    ["StopPodSandbox", () => runtime.stopPodSandbox(made)],
    ["RemovePodSandbox", () => runtime.removePodSandbox(made)],
  ];
  return { calls, made, ids };
}

async function known(): Promise<readonly string[]> {
  const { runtime } = faulty.daemon.cri;
  const [{ items }, { containers }] = await Promise.all([
    runtime.listPodSandbox({}),
    runtime.listContainers({}),
  ]);
  return [...items, ...containers].map(({ id }) => id);
}

async function requireNothingLeft(ids: readonly string[]): Promise<void> {
  await eventually(() => expect(leftOvers(faulty.daemon, ids)).toEqual([]));
  expect(await known()).toEqual([]);
}

/** A container whose start has failed has ended; a kubelet makes another one. */
async function hasEnded(containerId: string): Promise<boolean> {
  const { status } = await faulty.daemon.cri.runtime.containerStatus({ containerId });
  return status?.state === pb.ContainerState.CONTAINER_EXITED;
}

/** What these give is held by the code that waits for it: between that and the next step nothing can fail. */
const givesSomething = new Set(["records.write", "lock.wait", "plugins.call"]);

function momentsOf(step: string): readonly Fault["moment"][] {
  return givesSomething.has(step) ? ["before"] : ["before", "after"];
}

/** A pod from nothing to nothing in which the step fails once. Returns the call that failed by it. */
async function failOnce(fault: Fault): Promise<string | undefined> {
  const { calls, made, ids } = life();
  faulty.set(fault);
  let failed: string | undefined;
  for (const [rpc, call] of calls) {
    const before = await known();
    try {
      await call();
      continue;
    } catch (err) {
      expect(String(err)).toContain(`a fault ${fault.moment} ${fault.step}`);
      failed = rpc;
    }
    if (rpc === "RunPodSandbox") await requireNothingLeft(ids);
    if (rpc === "CreateContainer") expect(await known()).toEqual(before);
    if (rpc === "StartContainer" && (await hasEnded(made.containerId))) continue;
    await call();
  }
  faulty.take();
  await requireNothingLeft(ids);
  return failed;
}

test("each step of a pod's life fails once, before its work and after it: what was made is undone or mended by the next call", async () => {
  const { calls, ids } = life();
  for (const [, call] of calls) await call();
  await requireNothingLeft(ids);
  const steps = faulty.steps();
  const failed: string[] = [];
  for (const [i, step] of steps.entries()) {
    const skip = steps.slice(0, i).filter((earlier) => earlier === step).length;
    for (const moment of momentsOf(step)) {
      const rpc = await failOnce({ step, moment, skip });
      if (rpc !== undefined) failed.push(`${rpc} ${step}`);
    }
  }
  // The steps that a call depends on: a fault in there is an error of that call.
  expect([...new Set(failed)]).toEqual(
    expect.arrayContaining([
      "RunPodSandbox network.namespaces",
      "RunPodSandbox network.attach",
      "CreateContainer snapshot.prepare",
      "CreateContainer runtime.create",
      "StartContainer runtime.start",
      "StopPodSandbox network.detach",
    ]),
  );
});
