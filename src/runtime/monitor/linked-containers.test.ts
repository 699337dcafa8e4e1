import { expect, test } from "bun:test";
import type { ExitStatus } from "../../os/process/pidfd.ts";
import { processStartTime } from "../../os/process/process-stat.ts";
import type { EndReaper } from "./held-container.ts";
import { LinkedContainers } from "./linked-containers.ts";

test("LinkedContainers.handOver() gives the last of several successors the status that only one waiter can get", async () => {
  await using child = Bun.spawn(["sleep", "1000"]);
  const ended = Promise.withResolvers<ExitStatus | undefined>();
  let asked = 0;
  // As on Linux before 6.15: whoever reaps the process has its status, and nobody after that.
  const reaper: EndReaper = {
    keep: () => ({ [Symbol.dispose]: () => {} }),
    ended: async () => (asked++ === 0 ? await ended.promise : undefined),
  };
  using containers = new LinkedContainers(reaper);
  const listed = {
    ...{
      container: "c",
      dir: "/nowhere",
      isAdopted: true,
      pid: child.pid,
      startTime: processStartTime(child.pid) ?? 0,
    },
    ...{ terminalFd: undefined, stdinFd: undefined, exited: undefined },
  };
  containers.hold(listed, process.pid);
  const told: unknown[] = [];
  const client = { request: async (request: unknown) => void told.push(request) };
  const stale = containers.handOver(listed, client, () => false);
  const current = containers.handOver(listed, client, () => true);
  ended.resolve({ exitCode: 7 });
  await Promise.all([stale, current]);
  expect(told).toEqual([{ op: "exitedElsewhere", container: "c", status: { exitCode: 7 } }]);
});
