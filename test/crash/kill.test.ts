import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { createScript, type Pod, runPod } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const rounds = 24;
const workers = 3;

/** What the client has been told, by id. A call that was not answered leaves no claim behind. */
class Told {
  /** Answered creations that nobody has begun to remove. */
  readonly there = new Set<string>();
  readonly started = new Set<string>();
  /** Answered removals. */
  readonly gone = new Set<string>();
  readonly all = new Set<string>();

  created(id: string): void {
    this.there.add(id);
    this.all.add(id);
  }

  async removed(id: string, remove: () => Promise<unknown>): Promise<void> {
    this.there.delete(id);
    this.started.delete(id);
    await remove();
    this.gone.add(id);
  }
}

/** A pod from nothing to nothing, again and again, until a call fails because the daemon has gone. */
async function work({ cri }: Daemon, logs: string, told: Told): Promise<void> {
  for (;;) {
    const pod: Pod = await runPod(cri, logs);
    told.created(pod.id);
    const containerId = await createScript(cri, pod, "sleep 1000");
    told.created(containerId);
    await cri.runtime.startContainer({ containerId });
    told.started.add(containerId);
    if (Math.random() < 0.3) continue; // some stay
    if (Math.random() < 0.5) {
      told.started.delete(containerId);
      await cri.runtime.stopContainer({ containerId, timeout: 0n });
    }
    if (Math.random() < 0.5) {
      await told.removed(containerId, () => cri.runtime.removeContainer({ containerId }));
    }
    told.there.delete(containerId);
    told.started.delete(containerId);
    if (Math.random() < 0.5) await cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
    await told.removed(pod.id, () => cri.runtime.removePodSandbox({ podSandboxId: pod.id }));
    told.gone.add(containerId);
  }
}

async function check({ cri }: Daemon, told: Told): Promise<void> {
  const { items: sandboxes } = await cri.runtime.listPodSandbox({});
  const { containers } = await cri.runtime.listContainers({});
  const present = new Set([...sandboxes, ...containers].map(({ id }) => id));
  expect([...told.there].filter((id) => !present.has(id))).toEqual([]);
  expect([...told.gone].filter((id) => present.has(id))).toEqual([]);
  const running = new Set(
    containers
      .filter(({ state }) => state === ContainerState.CONTAINER_RUNNING)
      .map(({ id }) => id),
  );
  expect([...told.started].filter((id) => !running.has(id))).toEqual([]);
  // Whatever runs is told to run: a start that was not answered any more, too.
  for (const { id, state } of containers) {
    if (state !== ContainerState.CONTAINER_CREATED) continue;
    const { info } = await cri.runtime.containerStatus({ containerId: id, verbose: true });
    const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
    expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).not.toContain("sleep");
  }
}

async function removeAll({ cri }: Daemon): Promise<void> {
  const { items } = await cri.runtime.listPodSandbox({});
  for (const { id } of items) {
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
}

test(`${rounds} times kill -9 of the daemon at any moment: what was answered holds, and nothing is left`, async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const told = new Told();
  const seen = new Set<string>();
  const began = performance.now();
  await createScript(daemon.cri, await runPod(daemon.cri, logs.path), "sleep 1000");
  /** Of a pod and a container, on this machine: any moment is one of some of their lives. */
  const lifeMs = performance.now() - began;
  for (let round = 0; round < rounds; round++) {
    const working = Promise.allSettled(
      Array.from({ length: workers }, () => work(daemon, logs.path, told)),
    );
    await Bun.sleep(lifeMs * (0.1 + Math.random() * 2));
    for (const dir of ["sandboxes", "containers"]) {
      for (const id of readdirSync(`${daemon.state}/${dir}`)) seen.add(id);
    }
    await daemon.end("SIGKILL");
    await working;
    await daemon.start();
    await eventually(() => check(daemon, told));
    if (round % 4 === 3) {
      for (const id of [...told.there]) told.there.delete(id);
      told.started.clear();
      await removeAll(daemon);
    }
  }
  await removeAll(daemon);
  const ids = [...new Set([...told.all, ...seen])];
  expect(ids.length).toBeGreaterThan(rounds);
  await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
});
