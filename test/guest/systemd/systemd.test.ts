import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { guestCache } from "../packages.ts";
import { systemdFiles } from "./files.ts";
import { type SystemdNode, startSystemdNode } from "./node.ts";

const enabled = process.env["CRIB_TEST_GUEST"] === "1" && process.arch === "x64";
const minute = 60_000;
const mib = 2 ** 20;

describe.skipIf(!enabled)("a node with systemd and cgroup version 2", () => {
  let node: SystemdNode;
  const pods = Bun.file(join(import.meta.dir, "pods.sh"));
  /** What a script prints that has the functions of pods.sh. It ends with the first command that fails. */
  const shell = async (script: string) =>
    (await node.output(`set -e\n${await pods.text()}\n${script}`)).trim();

  beforeAll(async () => {
    node = await startSystemdNode({
      outDir: join(guestCache, "systemd"),
      files: systemdFiles(),
      progress: (line) => console.log(line),
    });
    await shell(`
      systemctl start crib
      crictl pull registry.k8s.io/e2e-test-images/busybox:1.29-2`);
  }, 30 * minute);

  // What a test that failed has left would fail the next one.
  afterEach(async () => {
    await node.run("crictl rmp -a -f");
  }, 5 * minute);

  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
  }, minute);

  test(
    "the driver is systemd's: a container is a scope in its pod's slice, which goes with it",
    async () => {
      const text = await shell(`
        p=$(pod own); id=$(start sleeper own $p)
        property $id Slice; property $id ActiveState
        crictl exec -s $id cat /proc/self/cgroup | head -n 1
        crictl stop -t 1 $id > /dev/null; crictl rmp -f $p > /dev/null
        until [ -z "$(systemctl list-units --all --no-legend 'crib-*.scope')" ]; do sleep 0.5; done
        find /sys/fs/cgroup -name 'crib-*.scope' | wc -l
        systemctl --failed --no-legend | wc -l`);
      expect(text.split("\n")).toEqual([
        "kubepods-burstable-pod_own.slice",
        "active",
        "0::/",
        "0",
        "0",
      ]);
    },
    10 * minute,
  );

  test(
    "limits hold in the cgroup when systemd is reloaded, before and after an update",
    async () => {
      const text = await shell(`
        p=$(pod own); id=$(start limits own $p)
        limits $id own; systemctl daemon-reload; limits $id own
        crictl update --cpu-quota 80000 --memory ${128 * mib} $id > /dev/null
        limits $id own; systemctl daemon-reload; limits $id own
        systemctl daemon-reexec; limits $id own
        for name in CPUQuotaPerSecUSec MemoryMax MemorySwapMax TasksMax; do property $id $name; done
        crictl exec -s $id echo alive | head -n 1
        crictl rmp -f $p > /dev/null`);
      const before = `50000 100000 ${64 * mib} 0 ${60 * mib} 50`;
      const after = `80000 100000 ${128 * mib} 0 ${60 * mib} 50`;
      const properties = ["800ms", String(128 * mib), "0", "50"];
      expect(text.split("\n")).toEqual([
        ...[before, before],
        ...[after, after, after],
        ...[...properties, "alive"],
      ]);
    },
    10 * minute,
  );

  test.each(["runc", "crun"])(
    "%s: a kill for lack of memory is OOMKilled, of the first process and of a child",
    async (handler) => {
      const text = await shell(`
        p=$(pod own ${handler})
        for name in child-too-big too-big child-too-big too-big; do
          id=$(start $name own $p); ended $id
          crictl inspect $id | sed -n 's/^ *"\\(reason\\|exitCode\\)": \\(.*\\),$/\\2/p' | paste -sd ' '
          crictl rm $id > /dev/null
        done
        crictl rmp -f $p > /dev/null`);
      const [child, first] = ['3 "OOMKilled"', '137 "OOMKilled"'];
      expect(text.split("\n")).toEqual([child, first, child, first]);
    },
    10 * minute,
  );

  test(
    "containers run on when crib's unit is restarted, stopped, killed or systemd executed again",
    async () => {
      const text = await shell(`
        p=$(pod steady); id=$(start sleeper steady $p); pid=$(process $id)
        same() { answers; [ "$(process $id)" = $pid ] && [ -d /proc/$pid ] && crictl exec -s $id echo $1 | head -n 1; }
        systemctl restart crib; same restart
        systemctl stop crib; [ -d /proc/$pid ]; systemctl start crib; same stop
        old=$(systemctl show --value -p MainPID crib); systemctl kill -s KILL --kill-whom=main crib
        until now=$(systemctl show --value -p MainPID crib) && [ $now != 0 ] && [ $now != $old ]; do sleep 0.5; done
        same kill
        systemctl daemon-reexec; systemctl daemon-reload; same reexec
        crictl rmp -f $p > /dev/null; systemctl is-active crib`);
      expect(text.split("\n")).toEqual(["restart", "stop", "kill", "reexec", "active"]);
    },
    15 * minute,
  );

  test(
    "a container whose scope was stopped by systemd has ended, and goes without a trace",
    async () => {
      const text = await shell(`
        p=$(pod own); id=$(start sleeper own $p)
        systemctl stop crib-$id.scope; ended $id; echo ended
        crictl inspect $id | sed -n 's/^ *"exitCode": \\(.*\\),$/\\1/p'
        again=$(start limits own $p); limits $again own
        crictl rmp -f $p > /dev/null
        systemctl list-units --all --no-legend 'crib-*.scope' | wc -l`);
      const limits = `50000 100000 ${64 * mib} 0 ${60 * mib} 50`;
      expect(text.split("\n")).toEqual(["ended", expect.stringMatching(/^1(37|43)$/), limits, "0"]);
    },
    10 * minute,
  );

  test(
    "after a reboot and after a power cut the containers have ended, and new ones run",
    async () => {
      await shell("systemctl enable crib; p=$(pod steady); start sleeper steady $p");
      for (const how of ["orderly", "power cut"] as const) {
        await node.reboot(how);
        const text = await shell(`
          answers
          crictl ps -q | wc -l
          crictl pods -o json | grep -c SANDBOX_NOTREADY
          crictl rmp -a -f > /dev/null
          p=$(pod steady); id=$(start sleeper steady $p)
          crictl exec -s $id echo alive | head -n 1`);
        expect(text.split("\n")).toEqual(["0", "1", "alive"]);
      }
    },
    30 * minute,
  );
});
