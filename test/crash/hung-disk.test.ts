import { expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { hungDisk } from "../harness/hung-disk.ts";
import { leftOvers } from "../harness/leaks.ts";
import { createScript, runPod, startScript } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

test("volumes whose file system hangs keep their own pods waiting and no other, and go away with them", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  // Each time whoever stood in line behind what hangs would be served after it; a busy machine may be late now and then.
  let isServed = false;
  for (let round = 0; !isServed && round < 5; round++) {
    isServed = await isServedMeanwhile(daemon, dir.path, `${dir.path}/hung${round}`);
  }
  expect(isServed).toBe(true);
  await eventually(() => expect(daemon.children("source")).toEqual([]));
});

/** Whether a pod was served before the calls were given up that wait for the file system there. */
async function isServedMeanwhile(daemon: Daemon, logs: string, place: string): Promise<boolean> {
  const { cri } = daemon;
  const bad = await runPod(cri, logs);
  const good = await runPod(cri, logs);
  using _disk = await hungDisk(place);
  // More of them than the daemon could have threads.
  const volumes = Array.from({ length: 8 }, (_, i) => `${place}/${i}`);
  const attempts = Promise.all(
    volumes.map((hostPath) =>
      failure(createScript(cri, bad, "true", { mounts: [{ hostPath, containerPath: "/data" }] })),
    ),
  );
  let isGivenUp = false;
  void attempts.then(() => {
    isGivenUp = true;
  });
  await eventually(() => expect(daemon.children("source")).not.toEqual([]));
  let isServed = false;
  for (let i = 0; i < 3; i++) {
    const id = await startScript(cri, good, "sleep 1000", {
      mounts: [{ hostPath: logs, containerPath: "/data" }],
    });
    const { stdout } = await cri.runtime.execSync({ containerId: id, cmd: ["echo", "hello"] });
    expect(Buffer.from(stdout).toString()).toBe("hello\n");
    await cri.runtime.stopContainer({ containerId: id, timeout: 0n });
    isServed ||= !isGivenUp;
  }
  for (const { code, message } of await attempts) {
    expect(message).toContain("mount source");
    expect(message).toContain("does not respond");
    expect(code).toBe(Code.DeadlineExceeded);
  }
  // It is known now, and another child would only hang too.
  const mounts = [{ hostPath: volumes[0] ?? "", containerPath: "/data" }];
  const again = await failure(createScript(cri, bad, "true", { mounts }));
  expect(again.code).toBe(Code.Unavailable);
  for (const { id } of [bad, good]) {
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
  await eventually(() => expect(leftOvers(daemon, [bad.id, good.id])).toEqual([]));
  return isServed;
}
