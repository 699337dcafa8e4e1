import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { type Pod, runPod, startScript } from "../harness/pod.ts";
import { fill, smallDisk } from "../harness/small-disk.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** What the call answered; undefined if there was no room for it. */
async function ifThereIsRoom<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (err) {
    expect(ConnectError.from(err).code).toBe(Code.ResourceExhausted);
    return undefined;
  }
}

test("on a full disk no container begins, and everything can be stopped and removed", async () => {
  using dir = tempDir("/var/tmp");
  const root = `${dir.path}/root`;
  using _disk = smallDisk(root, 48);
  await using daemon = await Daemon.start({ demoImage: true, root });
  const { cri } = daemon;
  const pods = await Promise.all([1, 2, 3].map(() => runPod(cri, dir.path)));
  const [first, second, third] = pods;
  if (!first || !second || !third) throw new Error("no pods");
  const containers = await Promise.all(pods.map((pod) => startScript(cri, pod, "sleep 1000")));

  const ballast = `${root}/ballast`;
  fill(ballast);
  // A pod needs no more of the disk than its record.
  const late: Pod[] = [];
  for (let i = 0; i < 5; i++) {
    const pod = await ifThereIsRoom(runPod(cri, dir.path));
    if (pod !== undefined) late.push(pod);
    expect(await ifThereIsRoom(startScript(cri, second, "exit 0"))).toBeUndefined();
  }
  await cri.runtime.stopContainer({ containerId: containers[0] ?? "", timeout: 0n });
  await cri.runtime.removeContainer({ containerId: containers[0] ?? "" });
  await cri.runtime.stopPodSandbox({ podSandboxId: first.id });
  await cri.runtime.removePodSandbox({ podSandboxId: first.id });
  fill(ballast);

  await daemon.end("SIGKILL");
  await daemon.start();
  const { items } = await cri.runtime.listPodSandbox({});
  expect(items.map(({ id }) => id).sort()).toEqual(
    [second, third, ...late].map(({ id }) => id).sort(),
  );
  await cri.runtime.stopPodSandbox({ podSandboxId: second.id });
  await cri.runtime.removePodSandbox({ podSandboxId: second.id });

  rmSync(ballast);
  const again = await runPod(cri, dir.path);
  await startScript(cri, again, "sleep 1000");
  for (const { id } of [again, third, ...late]) {
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
  const ids = [...pods, ...late, again].map(({ id }) => id);
  await eventually(() => expect(leftOvers(daemon, [...ids, ...containers])).toEqual([]));
});
