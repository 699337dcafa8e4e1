import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { resolve } from "node:path";
import type { Context } from "../../src/lib/context.ts";
import { silentLog } from "../../src/lib/log.ts";
import { NetworkCounters } from "../../src/network/inside/counters.ts";
import { eventually } from "../harness/eventually.ts";

const ctx: Context = { signal: AbortSignal.timeout(300_000), log: silentLog };
const role = [process.execPath, resolve(import.meta.dir, "../harness/counters-main.ts")];

/** A process in a network namespace of its own, in which `lo` has carried something. */
async function inNewNetwork() {
  const script = "ip link set lo up && ip link add d0 type veth peer name d1 && sleep 1000";
  const child = Bun.spawn(["unshare", "--net", "sh", "-c", script]);
  const path = `/proc/${child.pid}/ns/net`;
  await eventually(() => {
    if (readlinkSync(path) === readlinkSync("/proc/self/ns/net")) throw new Error("not there yet");
    const run = Bun.spawnSync(["nsenter", `--net=${path}`, "ip", "link", "show", "d0"]);
    if (run.exitCode !== 0) throw new Error("no interface yet");
  });
  return { child, path };
}

test("counters of a namespace are read without a process in it, until they are forgotten", async () => {
  using counters = new NetworkCounters(role);
  const { child, path } = await inNewNetwork();
  const before = readlinkSync("/proc/self/ns/net");
  await Promise.all([
    counters.open(ctx, new Map([["pod", path]])),
    counters.open(
      ctx,
      new Map([
        ["pod", path],
        ["gone", "/proc/1/ns/none"],
      ]),
    ),
  ]);
  expect(
    counters
      .read("pod")
      ?.map(({ name }) => name)
      .sort(),
  ).toEqual(["d0", "d1", "lo"]);
  expect(counters.read("gone")).toBeUndefined();
  expect(readlinkSync("/proc/self/ns/net")).toBe(before);
  child.kill("SIGKILL");
  await child.exited;
  expect(counters.read("pod")?.[0]?.received.errors).toBe(0);
  counters.forget("pod");
  counters.forget("pod");
  expect(counters.read("pod")).toBeUndefined();
});

test("a child that returns nonsense, or not for each namespace, is an error and leaves nothing open", async () => {
  const answers = ["x", "{}", "[]", "[1,2]", ""];
  for (const answer of answers) {
    using counters = new NetworkCounters(["/bin/echo", "-n", answer]);
    await expect(counters.open(ctx, new Map([["pod", "/proc/self/ns/net"]]))).rejects.toThrow(
      "open network counters",
    );
    expect(counters.read("pod")).toBeUndefined();
  }
});
