import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { directoriesOf, directoryFor } from "../../src/cgroup/directory.ts";
import { isFrozen } from "../../src/cgroup/frozen.ts";
import { type CgroupHost, readCgroupHost } from "../../src/cgroup/host.ts";
import { oomFiles, parseOomKills } from "../../src/cgroup/oom.ts";
import { killAll, listProcesses } from "../../src/cgroup/processes.ts";
import { removeCgroup } from "../../src/cgroup/remove.ts";
import { OpenCgroups } from "../../src/cgroup/stats/open-cgroups.ts";
import { thaw } from "../../src/cgroup/thaw.ts";
import type { Context } from "../../src/lib/context.ts";
import { silentLog } from "../../src/lib/log.ts";
import { readOomKilled } from "../../src/monitor/oom.ts";
import { eventually } from "../harness/eventually.ts";

const ctx: Context = { signal: AbortSignal.timeout(600_000), log: silentLog };
const host = readCgroupHost();
const pod = `/crib-test-cgroup-${process.pid}`;
const container = `${pod}/c1`;

afterEach(() => removeCgroup(ctx, host, pod));

describe("a cgroup in all hierarchies", () => {
  test("its processes are found, killed and gone, and it is removed with all below it", async () => {
    make(pod);
    make(container);
    make(`${container}/nested`);
    const stubborn = "trap '' TERM INT HUP; while :; do sleep 1; done";
    const plain = start(container, "sleep", "1000");
    const deep = start(`${container}/nested`, "sh", "-c", stubborn);
    expect(listProcesses(host, container)).toEqual(expect.arrayContaining([plain.pid, deep.pid]));

    await removeCgroup(ctx, host, container);
    expect(plain.signalCode ?? (await plain.exited)).toBeTruthy();
    expect(await deep.exited).toBe(137);
    expect(directoriesOf(host, container).filter((dir) => existsSync(dir))).toEqual([]);
    expect(directoriesOf(host, pod).every((dir) => existsSync(dir))).toBe(true);
    await removeCgroup(ctx, host, container);
  });

  test("frozen processes are killed, too", async () => {
    make(pod);
    const child = start(pod, "sleep", "1000");
    freeze(pod);
    await killAll(ctx, host, pod);
    expect(await child.exited).toBe(137);
    await killAll(ctx, host, pod);
  });

  test("is frozen with one above it, in either version", async () => {
    const { unified } = host;
    const version2 = { ...host, roots: new Map<string, string>(), unified };
    for (const kind of unified === undefined ? [host] : [host, version2]) {
      make(pod);
      make(container);
      start(container, "sleep", "1000");
      expect(isFrozen(kind, container)).toBe(false);
      freeze(pod, kind);
      await eventually(() => expect(isFrozen(kind, container)).toBe(true));
      expect(isFrozen(kind, `${pod}/absent`)).toBe(false);
      thaw(host, pod);
      await eventually(() => expect(isFrozen(kind, container)).toBe(false));
      await removeCgroup(ctx, host, pod);
    }
  });

  test("never reaches the root", async () => {
    for (const relative of ["/", "", "/..", "/a/../.."]) {
      expect(removeCgroup(ctx, host, relative)).rejects.toThrow(RangeError);
    }
  });

  test("has memory left up to its own limit only", () => {
    make(pod);
    if (host.version === 2) {
      writeFileSync(`${directoryFor(host, "memory", pod)}/cgroup.subtree_control`, "+memory");
    }
    make(container);
    limitMemory(pod, 16 << 20);
    using cgroups = new OpenCgroups(host);
    expect(cgroups.read(pod).memory?.availableBytes).toBeGreaterThan(15 << 20);
    expect(cgroups.read(container).memory).toMatchObject({ availableBytes: undefined });
    limitMemory(container, 8 << 20);
    expect(cgroups.read(container).memory?.availableBytes).toBeLessThanOrEqual(8 << 20);
  });

  test("a kill for lack of memory is counted", async () => {
    make(pod);
    limitMemory(pod, 16 << 20);
    const [file = ""] = oomFiles(host, pod);
    expect(parseOomKills(readFileSync(file, "utf8"))).toBe(0);
    const own = host.version === 2 ? "^0::" : ":memory:";
    const isInside = `grep -q "${own}${pod}" /proc/self/cgroup`;
    const eat = `until ${isInside}; do sleep 0.05; done; head -c 200M /dev/zero | tail -c 200M`;
    const eater = start(pod, "sh", "-c", eat);
    await eater.exited;
    await eventually(() => expect(parseOomKills(readFileSync(file, "utf8"))).toBeGreaterThan(0));
    expect(readOomKilled([file])).toBe(true);
    // systemd removes a scope's cgroup with its last process; the kernel's log still names it.
    await removeCgroup(ctx, host, pod);
    expect(readOomKilled([file])).toBe(true);
    expect(readOomKilled([file.replace(/[^/]+(?=\/[^/]+$)/, "another")])).toBe(false);
  });
});

function make(relative: string): void {
  for (const dir of directoriesOf(host, relative)) mkdirSync(dir, { recursive: true });
  const cpuset = directoryFor(host, "cpuset", relative);
  if (host.version === 2 || cpuset === undefined) return;
  // Version 1: no process may join before these are filled.
  const parent = cpuset.slice(0, cpuset.lastIndexOf("/"));
  for (const name of ["cpuset.cpus", "cpuset.mems"]) {
    writeFileSync(`${cpuset}/${name}`, readFileSync(`${parent}/${name}`));
  }
}

function limitMemory(relative: string, bytes: number): void {
  const limit = host.version === 2 ? "memory.max" : "memory.limit_in_bytes";
  writeFileSync(`${directoryFor(host, "memory", relative)}/${limit}`, String(bytes));
}

function start(relative: string, ...argv: string[]) {
  const child = Bun.spawn(argv, { stdio: ["ignore", "ignore", "ignore"] });
  for (const dir of directoriesOf(host, relative)) {
    writeFileSync(`${dir}/cgroup.procs`, String(child.pid));
  }
  return child;
}

function freeze(relative: string, kind: CgroupHost = host): void {
  const version1 = directoryFor(kind, "freezer", relative);
  if (version1 !== undefined) writeFileSync(`${version1}/freezer.state`, "FROZEN");
  else writeFileSync(`${kind.unified}${relative}/cgroup.freeze`, "1");
}
