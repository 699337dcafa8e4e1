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
  const { cri } = daemon;
  const bad = await runPod(cri, dir.path);
  const good = await runPod(cri, dir.path);
  {
    using _disk = await hungDisk(`${dir.path}/hung`);
    // More of them than the daemon could have threads.
    const volumes = Array.from({ length: 8 }, (_, i) => `${dir.path}/hung/${i}`);
    const attempts = Promise.all(
      volumes.map((hostPath) =>
        failure(createScript(cri, bad, "true", { mounts: [{ hostPath, containerPath: "/data" }] })),
      ),
    );
    let isRefused = false;
    void attempts.then(() => {
      isRefused = true;
    });
    await eventually(() => expect(daemon.children("source")).not.toEqual([]));
    for (let i = 0; i < 3; i++) {
      const id = await startScript(cri, good, "sleep 1000", {
        mounts: [{ hostPath: dir.path, containerPath: "/data" }],
      });
      const { stdout } = await cri.runtime.execSync({ containerId: id, cmd: ["echo", "hello"] });
      expect(Buffer.from(stdout).toString()).toBe("hello\n");
      await cri.runtime.stopContainer({ containerId: id, timeout: 0n });
      // Those are given ten seconds each: whoever stood in line behind them would come after them.
      if (i === 0) expect(isRefused).toBe(false);
    }
    for (const { code, message } of await attempts) {
      expect(message).toContain("mount source");
      expect(message).toContain("does not answer");
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
  }
  await eventually(() => expect(daemon.children("source")).toEqual([]));
});
