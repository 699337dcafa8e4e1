import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { runPod, startScript } from "../harness/pod.ts";
import { fill, smallDisk } from "../harness/small-disk.ts";
import { tempDir } from "../harness/temp-dir.ts";

async function codeOf(call: Promise<unknown>): Promise<Code | undefined> {
  try {
    await call;
    return undefined;
  } catch (err) {
    return ConnectError.from(err).code;
  }
}

test("on a full disk nothing new begins, and everything can be stopped and removed", async () => {
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
  for (let i = 0; i < 5; i++) {
    expect(await codeOf(runPod(cri, dir.path))).toBe(Code.ResourceExhausted);
    expect(await codeOf(startScript(cri, second, "exit 0"))).toBe(Code.ResourceExhausted);
  }
  await cri.runtime.stopContainer({ containerId: containers[0] ?? "", timeout: 0n });
  await cri.runtime.removeContainer({ containerId: containers[0] ?? "" });
  await cri.runtime.stopPodSandbox({ podSandboxId: first.id });
  await cri.runtime.removePodSandbox({ podSandboxId: first.id });
  fill(ballast);

  await daemon.end("SIGKILL");
  await daemon.start();
  const { items } = await cri.runtime.listPodSandbox({});
  expect(items.map(({ id }) => id).sort()).toEqual([second.id, third.id].sort());
  await cri.runtime.stopPodSandbox({ podSandboxId: second.id });
  await cri.runtime.removePodSandbox({ podSandboxId: second.id });

  rmSync(ballast);
  const again = await runPod(cri, dir.path);
  await startScript(cri, again, "sleep 1000");
  for (const { id } of [again, third]) {
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
  const ids = [...pods, again].map(({ id }) => id);
  await eventually(() => expect(leftOvers(daemon, [...ids, ...containers])).toEqual([]));
});
