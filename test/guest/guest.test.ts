import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { formatVerdict } from "../critest/run.ts";
import { runGuestCritest } from "./critest.ts";
import { guestCache } from "./packages.ts";
import { type Reboot, reboot } from "./reboot.ts";
import { runScript } from "./scenario.ts";

const enabled = process.env["CRIB_TEST_GUEST"] === "1";
if (!enabled)
  console.log("skipped: tests in a guest take half an hour; CRIB_TEST_GUEST=1 runs them");

const minute = 60_000;
const options = { progress: (line: string) => console.log(line) };

interface Listed {
  readonly metadata: { readonly name: string };
  readonly state: string;
}

describe.skipIf(!enabled)("a node that has lost its power", () => {
  let run: Reboot;

  const text = (dir: string, name: string) => Bun.file(join(dir, name)).text();
  const lines = async (dir: string, name: string) =>
    (await text(dir, name)).split("\n").filter(Boolean).sort();
  const pods = async (name: string) =>
    (JSON.parse(await text(run.afterDir, `${name}-pods.json`)) as { items: readonly Listed[] })
      .items;
  const tags = async (dir: string, name: string) => {
    const list = JSON.parse(await text(dir, `${name}-images.json`)) as {
      images: readonly { repoTags: readonly string[] }[];
    };
    return list.images.flatMap(({ repoTags }) => repoTags).sort();
  };
  const containers = async (name: string) =>
    parseDocuments(await text(run.afterDir, `${name}-inspect.json`)).map(
      ({ status: { metadata, state, exitCode, reason, logPath } }) => ({
        name: `${logPath.split("/").at(-2)}/${metadata.name}`,
        ...{ state, exitCode, reason },
      }),
    );

  beforeAll(async () => {
    run = await reboot(options);
  }, 45 * minute);

  test("comes up again, and all that was tried on it works", () => {
    expect(run.before.exitCode).toBeUndefined();
    expect(run.after.exitCode).toBe(0);
  });

  test("has its pods, not ready, and its containers, ended", async () => {
    expect(
      (await pods("recovered")).map(({ metadata, state }) => [metadata.name, state]).sort(),
    ).toEqual([
      ["shared", "SANDBOX_NOTREADY"],
      ["steady", "SANDBOX_NOTREADY"],
      ["stopped", "SANDBOX_NOTREADY"],
    ]);
    const lost = { state: "CONTAINER_EXITED", exitCode: 255, reason: "Unknown" };
    const found = await containers("recovered");
    expect(found.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual([
      { name: "shared/web", ...lost },
      { name: "steady/created", ...lost },
      // These had ended before, and it is known how.
      { name: "steady/done", state: "CONTAINER_EXITED", exitCode: 7, reason: "Error" },
      { name: "steady/sleeper", ...lost },
      { name: "stopped/sleeper", state: "CONTAINER_EXITED", exitCode: 137, reason: "Error" },
    ]);
  });

  test("gives back addresses when pods are stopped: DEL without a namespace, once for each", async () => {
    const before = await lines(run.beforeDir, "before-addresses");
    expect(before).toHaveLength(2);
    expect(await lines(run.afterDir, "recovered-addresses")).toEqual(before);
    expect(await lines(run.afterDir, "stopped-addresses")).toEqual([]);
    const calls = (await text(run.afterDir, "cni.log")).split("\n");
    const firstAdd = calls.findIndex((call) => call.startsWith("ADD "));
    const deletions = calls.slice(0, firstAdd).filter((call) => call.startsWith("DEL "));
    expect(deletions.map((call) => call.split(" ")[2])).toEqual(["netns=", "netns="]);
  });

  test("has nothing left of pods that were removed", async () => {
    expect(await pods("removed")).toEqual([]);
    expect(await containers("removed")).toEqual([]);
    expect(await text(run.afterDir, "state-left")).not.toMatch(/^[0-9a-f]{64}$/m);
    expect(await lines(run.afterDir, "containers-left")).toEqual([]);
    expect((await text(run.afterDir, "overlays-left")).trim()).toBe("0");
  });

  test("has every image that was complete, and not the one that was not", async () => {
    expect(await tags(run.afterDir, "recovered")).toEqual([
      "registry.k8s.io/crib-test/debian:base",
      "registry.k8s.io/e2e-test-images/busybox:1.29-2",
      "registry.k8s.io/e2e-test-images/nginx:1.14-2",
    ]);
    const kept = await text(run.afterDir, "sums-kept");
    expect(kept).toMatch(/^[0-9a-f]{64} /);
    expect(await text(run.afterDir, "sums-pulled")).toBe(kept);
    expect(Number(await text(run.afterDir, "tools"))).toBeGreaterThan(3);
  });

  test("runs new pods, with host ports", async () => {
    expect((await pods("again")).map(({ state }) => state)).toEqual([
      "SANDBOX_READY",
      "SANDBOX_READY",
    ]);
    expect((await containers("again")).map(({ state }) => state)).toEqual([
      "CONTAINER_RUNNING",
      "CONTAINER_RUNNING",
    ]);
    expect(await text(run.afterDir, "page")).toContain("It works");
    expect(await lines(run.afterDir, "addresses-left")).toEqual([]);
  });
});

describe.skipIf(!enabled)("cgroup version 2 alone, no systemd, no udev", () => {
  const outDir = join(guestCache, "cgroup");
  const text = (name: string) => Bun.file(join(outDir, name)).text();
  const pairs = async (name: string) =>
    Object.fromEntries(
      (await text(name))
        .split("\n")
        .filter(Boolean)
        .map((line) => /^(\S+) (.*)$/.exec(line)?.slice(1) ?? []),
    );

  beforeAll(async () => {
    const { exitCode } = await runScript("cgroup.sh", {
      ...options,
      outDir,
      timeoutMs: 20 * minute,
    });
    expect(exitCode).toBe(0);
  }, 25 * minute);

  describe.each(["runc", "crun"])("%s", (handler) => {
    test("limits are what was asked for, before and after an update", async () => {
      const before = await pairs(`${handler}/limits`);
      // crun before 1.23 counts shares in another way.
      const weights = { runc: ["59", "100"], crun: ["20", "39"] }[handler] ?? [];
      expect(before).toEqual({
        "cpu.max": "50000 100000",
        "cpu.weight": weights[0],
        "cpuset.cpus": "0",
        "memory.max": String(64 << 20),
        "memory.swap.max": "0",
        "memory.high": String(60 << 20),
        "pids.max": "50",
      });
      expect(await pairs(`${handler}/limits-updated`)).toEqual({
        ...before,
        "cpu.max": "80000 100000",
        "cpu.weight": weights[1],
        "cpuset.cpus": "1",
        "memory.max": String(128 << 20),
      });
      const [updated] = parseDocuments(await text(`${handler}/inspect-updated.json`));
      expect(updated?.status.resources.linux).toMatchObject({
        cpuShares: "1024",
        cpuQuota: "80000",
        cpusetCpus: "1",
        memoryLimitInBytes: String(128 << 20),
      });
    });

    test("a container is below its pod's cgroup and sees a cgroup namespace of its own", async () => {
      expect(await text(`${handler}/cgroup`)).toMatch(
        /^0::\/kubepods\/burstable\/pod-own\/[0-9a-f]{64}\n$/,
      );
      expect(await text(`${handler}/exec-cgroup`)).toContain("0::/\n");
      expect(await text(`${handler}/oom-score`)).toBe("0\n");
      expect(await text(`${handler}/cgroups-left`)).toBe("");
    });

    test("statistics come from it", async () => {
      const { stats } = JSON.parse(await text(`${handler}/stats.json`)) as {
        stats: readonly {
          cpu: { usageCoreNanoSeconds: { value: string } };
          memory: { workingSetBytes: { value: string } };
        }[];
      };
      expect(Number(stats[0]?.cpu.usageCoreNanoSeconds.value)).toBeGreaterThan(0);
      expect(Number(stats[0]?.memory.workingSetBytes.value)).toBeGreaterThan(0);
    });

    test("tells that the kernel killed for lack of memory", async () => {
      const ended = parseDocuments(await text(`${handler}/inspect-oom.json`));
      expect(ended.map(({ status }) => [status.exitCode, status.reason])).toEqual([
        [3, "OOMKilled"],
        [137, "OOMKilled"],
      ]);
    });

    test("nothing that a container or an exec has started outlives it", async () => {
      expect(await text(`${handler}/forks-left`)).toBe("0\n");
      expect(await text(`${handler}/exec-left`)).toBe("0\n");
    });
  });

  test("host ports work without iptables, and their rules go with the pod", async () => {
    expect(await text("nft-page")).toContain("It works");
    expect(await text("ruleset")).toContain("18080");
    expect(await text("ruleset-left")).not.toContain("18080");
  });

  test("the demo leaves nothing", async () => {
    expect(await text("demo")).toContain("All of it worked");
  });
});

describe.skipIf(!enabled)("a clock that somebody sets", () => {
  const outDir = join(guestCache, "clock");
  const text = (name: string) => Bun.file(join(outDir, name)).text();
  const stats = async (name: string) => {
    const { stats: found } = JSON.parse(await text(name)) as {
      stats: readonly {
        cpu: { timestamp: string; usageNanoCores: { value: string } | null };
      }[];
    };
    return {
      atMs: Number(BigInt(found[0]?.cpu.timestamp ?? 0) / 1_000_000n),
      nanoCores: Number(found[0]?.cpu.usageNanoCores?.value ?? 0),
    };
  };
  const attempts = async () =>
    parseDocuments(await text("inspect.json"))
      .map(({ status }) => status)
      .sort((a, b) => a.metadata.attempt - b.metadata.attempt);

  beforeAll(async () => {
    const { exitCode } = await runScript("clock.sh", {
      ...options,
      outDir,
      timeoutMs: 15 * minute,
    });
    expect(exitCode).toBe(0);
  }, 20 * minute);

  describe.each(["ahead", "back", "epoch"])("%s", (jump) => {
    test("ends nothing early and nothing late", async () => {
      for (const name of ["exec-ms", "stop-ms"]) {
        const ms = Number(await text(`${jump}/${name}`));
        expect(ms).toBeGreaterThanOrEqual(2000);
        expect(ms).toBeLessThan(30_000);
      }
      expect(await text(`${jump}/stream`)).toBe("survived\n");
      expect(await text(`${jump}/exec`)).toBe("hello\n");
    });

    test("leaves statistics that have rates", async () => {
      const at = await stats(`${jump}/stats-at.json`);
      const after = await stats(`${jump}/stats-after.json`);
      // An exec that takes two seconds has been between them.
      expect(after.atMs - at.atMs).toBeGreaterThan(2000);
      expect(after.atMs - at.atMs).toBeLessThan(60_000);
      for (const { nanoCores } of [at, after]) {
        expect(nanoCores).toBeGreaterThanOrEqual(0);
        expect(nanoCores).toBeLessThan(2e9);
      }
    });
  });

  test("leaves the newest attempt of a container the newest, also after a restart", async () => {
    const all = await attempts();
    expect(all.map(({ metadata }) => metadata.attempt)).toEqual([0, 1, 2, 3, 4, 5]);
    const created = all.map(({ createdAt }) => nanosecondsOf(createdAt));
    expect(created).toEqual(created.toSorted());
    expect(new Set(created).size).toBe(6);
  });

  test("says when a container has begun as its clients' clocks do, and it ends after that", async () => {
    for (const [i, { startedAt, finishedAt, state }] of (await attempts()).entries()) {
      const startedMs = Date.parse(startedAt);
      const noted = Number(await text(`started-${i}`)) * 1000;
      expect(Math.abs(startedMs - noted)).toBeLessThan(30_000);
      if (state === "CONTAINER_EXITED") {
        expect(Date.parse(finishedAt)).toBeGreaterThanOrEqual(startedMs);
      }
    }
  });
});

describe.skipIf(!enabled)("critest", () => {
  test(
    "passes what is required, with AppArmor",
    async () => {
      const verdict = await runGuestCritest(options);
      console.log(formatVerdict(verdict));
      expect(verdict.wrong).toEqual([]);
      expect(verdict.incomplete).toBeUndefined();
    },
    70 * minute,
  );
});

interface Inspected {
  readonly status: {
    readonly metadata: { readonly name: string; readonly attempt: number };
    readonly state: string;
    readonly createdAt: string;
    readonly startedAt: string;
    readonly finishedAt: string;
    readonly exitCode: number;
    readonly reason: string;
    readonly logPath: string;
    readonly resources: { readonly linux: Readonly<Record<string, unknown>> };
  };
}

/** RFC 3339 as a text that sorts as time does: zeros at the end are left out of a fraction. */
function nanosecondsOf(time: string): string {
  const [seconds = "", fraction = ""] = time.replace(/Z$/, "").split(".");
  return `${seconds}.${fraction.padEnd(9, "0")}`;
}

/** JSON objects one after the other, each with its braces at the start of a line. */
function parseDocuments(text: string): readonly Inspected[] {
  return text
    .split(/^(?=\{)/m)
    .filter((part) => part.trim() !== "")
    .map((part) => JSON.parse(part) as Inspected);
}

describe.skipIf(!enabled)("a node with CRIU", () => {
  const outDir = join(guestCache, "checkpoint");

  test(
    "writes a container's checkpoint, and the container goes on",
    async () => {
      const { exitCode } = await runScript("checkpoint.sh", {
        ...options,
        outDir,
        timeoutMs: 10 * minute,
      });
      expect(exitCode).toBe(0);
      const list = Bun.spawnSync(["tar", "tf", join(outDir, "checkpoint.tar")]);
      const names = list.stdout.toString().split("\n");
      for (const name of [
        ...["config.dump", "spec.dump", "status.dump", "dump.log", "rootfs-diff.tar"],
        ...["checkpoint/", "checkpoint/inventory.img", "checkpoint/pages-1.img"],
      ]) {
        expect(names).toContain(name);
      }
      const diff = Bun.spawnSync([
        "sh",
        "-c",
        'tar xOf "$0" rootfs-diff.tar | tar tf -',
        join(outDir, "checkpoint.tar"),
      ]).stdout.toString();
      expect(diff.split("\n")).toEqual(
        expect.arrayContaining(["etc/.wh.passwd", "root/link", "root/new"]),
      );
      expect(await Bun.file(join(outDir, "after")).text()).toContain("changed\n");
      expect(await Bun.file(join(outDir, "left")).text()).toBe("");
    },
    15 * minute,
  );
});
