import { expect, test } from "bun:test";
import { sandbox, sandboxConfig } from "../../../test/harness/cri-domain.ts";
import { reading } from "../../../test/harness/cri-stats.ts";
import { sumReadings } from "../usage/sum-readings.ts";
import { podCgroups } from "./pod-cgroup.ts";

const pod = (uid: string, cgroupParent: string) =>
  sandbox({
    config: sandboxConfig({
      metadata: { name: "web", namespace: "default", uid },
      linux: { cgroupParent },
    }),
  });

test("a parent that one pod alone has is the pod's cgroup", () => {
  const own = pod("1", "/kubepods/pod1");
  const [again, other] = [pod("2", "/kubepods/pod2"), pod("2", "/kubepods/pod2")];
  const shared = [pod("3", "/shared"), pod("4", "/shared")];
  const none = pod("5", "");
  const found = podCgroups({ cgroupDriver: "cgroupfs" }, [own, again, other, ...shared, none]);
  expect([...found]).toEqual([
    [own.id, "/kubepods/pod1"],
    [again.id, "/kubepods/pod2"],
    [other.id, "/kubepods/pod2"],
  ]);
});

test("a slice is found where systemd has put it", () => {
  const own = pod("1", "kubepods-burstable.slice");
  expect([...podCgroups({ cgroupDriver: "systemd" }, [own]).values()]).toEqual([
    "/kubepods.slice/kubepods-burstable.slice",
  ]);
});

test("sumReadings() adds what adds up", () => {
  expect(sumReadings([reading, reading])).toMatchObject({
    cpu: { usageNs: 24_691_357_802n, pressure: undefined },
    nanoCores: 500_000_000n,
    memory: { usageBytes: 6000, workingSetBytes: 4000, availableBytes: undefined },
  });
  expect(sumReadings([])).toMatchObject({ cpu: { usageNs: 0n }, nanoCores: undefined });
});
