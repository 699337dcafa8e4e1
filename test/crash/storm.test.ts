import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectCri } from "../harness/cri.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { createScript, type Pod, runPod } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** How a call ended: its code, or "ok". */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (err) {
    return Code[ConnectError.from(err).code] ?? "?";
  }
}

function count(outcomes: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const one of outcomes) counts[one] = (counts[one] ?? 0) + 1;
  return counts;
}

/** What a daemon that has nothing to do keeps open. */
function descriptors(daemon: Daemon): number {
  return readdirSync(`/proc/${daemon.pid}/fd`).length;
}

test("storms of calls are answered, each with one of its codes, and leave nothing", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri } = daemon;
  const others = Array.from({ length: 8 }, () => connectCri(daemon.socket));
  const any = (i: number) => others[i % others.length] ?? cri;
  const pod = await runPod(cri, dir.path);
  const ids = [pod.id];
  const before = descriptors(daemon);

  // The same pod, a thousand times at once: one wins, and all that joined it have its id.
  const config = {
    ...pod.config,
    metadata: { ...pod.config.metadata, uid: "same" },
  } as Pod["config"];
  const same = await Promise.all(
    Array.from({ length: 1000 }, (_, i) =>
      any(i)
        .runtime.runPodSandbox({ config })
        .then(
          ({ podSandboxId }) => podSandboxId,
          (err) => Code[ConnectError.from(err).code] ?? "?",
        ),
    ),
  );
  const winners = [...new Set(same)].filter((one) => one !== "AlreadyExists");
  expect(winners).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  ids.push(...winners);

  // Created, started, stopped and removed, with everything racing.
  const races = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const { runtime } = any(i);
      const containerId = await createScript(any(i), pod, "sleep 1000");
      ids.push(containerId);
      return await Promise.all([
        outcome(runtime.startContainer({ containerId })),
        outcome(runtime.execSync({ containerId, cmd: ["true"] })),
        outcome(runtime.stopContainer({ containerId, timeout: 0n })),
        outcome(runtime.removeContainer({ containerId })),
        outcome(runtime.removeContainer({ containerId })),
      ]);
    }),
  );
  for (const [start, exec, ...rest] of races) {
    expect(rest).toEqual(["ok", "ok", "ok"]);
    expect(["ok", "FailedPrecondition", "NotFound"]).toContain(start);
    expect(["ok", "FailedPrecondition", "NotFound"]).toContain(exec);
  }

  // Lists while calls are given up at any moment.
  const given = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => {
      const timeoutMs = 1 + (i % 40);
      const call = i % 3;
      if (call === 0) return outcome(any(i).runtime.listContainers({}, { timeoutMs }));
      if (call === 1) return outcome(any(i).runtime.status({ verbose: true }, { timeoutMs }));
      return outcome(any(i).runtime.listPodSandbox({}, { timeoutMs }));
    }),
  );
  expect(
    Object.keys(count(given)).filter((one) => !["ok", "DeadlineExceeded"].includes(one)),
  ).toEqual([]);

  // Pods that are stopped and removed while containers are made in them.
  const torn = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const own = await runPod(any(i), dir.path);
      ids.push(own.id);
      const creating = [1, 2, 3].map(() =>
        outcome(createScript(any(i), own, "sleep 1000").then((id) => ids.push(id))),
      );
      await Bun.sleep(20 * (i % 5));
      const removing = [
        outcome(any(i).runtime.stopPodSandbox({ podSandboxId: own.id })),
        outcome(any(i + 1).runtime.removePodSandbox({ podSandboxId: own.id })),
      ];
      return { creating: await Promise.all(creating), removing: await Promise.all(removing) };
    }),
  );
  for (const { creating, removing } of torn) {
    expect(removing).toEqual(["ok", "ok"]);
    for (const one of creating) expect(["ok", "FailedPrecondition", "NotFound"]).toContain(one);
  }

  for (const id of [...winners, pod.id]) {
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
  expect((await cri.runtime.listContainers({})).containers).toEqual([]);
  expect((await cri.runtime.listPodSandbox({})).items).toEqual([]);
  await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
  await eventually(() => expect(descriptors(daemon) - before).toBeLessThanOrEqual(others.length));
});
