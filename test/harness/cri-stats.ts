import type { Container } from "../../src/container/container.ts";
import type { CgroupReading, ContainerStats } from "../../src/container/stats.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { NodeMetrics } from "../../src/sandbox/usage/metrics.ts";
import type { PodStats } from "../../src/sandbox/usage/stats.ts";

const line = { totalNs: 5_000n, avg10: 1.5, avg60: 0.5, avg300: 0.25 };
const pressure = { some: line, full: { ...line, totalNs: 1_000n } };

export const reading: CgroupReading = {
  cpu: { usageNs: 12_345_678_901n, pressure },
  nanoCores: 250_000_000n,
  memory: {
    usageBytes: 3000,
    workingSetBytes: 2000,
    availableBytes: 8000,
    rssBytes: 1500,
    pageFaults: 40,
    majorPageFaults: 2,
    pressure,
  },
  swap: { usageBytes: 10, availableBytes: undefined },
  ioPressure: pressure,
};

export function containerStats(container: Container): ContainerStats {
  return {
    container,
    atNs: 1_700_000_009_000_000_001n,
    cgroup: container.state.name === "exited" ? undefined : reading,
    writableLayer: { usedBytes: 4096, inodes: 7, atNs: 900n },
  };
}

export function podStats(sandbox: Sandbox, containers: readonly Container[]): PodStats {
  const isReady = sandbox.state === "ready";
  const traffic = (bytes: number) => ({ bytes, packets: bytes / 10, errors: 1, dropped: 2 });
  return {
    sandbox,
    atNs: 1_700_000_009_000_000_002n,
    cgroup: isReady ? reading : undefined,
    processes: isReady ? 3 : 0,
    network: isReady
      ? [
          { name: "net1", received: traffic(10), sent: traffic(20) },
          { name: "eth0", received: traffic(1000), sent: traffic(2000) },
        ]
      : undefined,
    containers: containers.map(containerStats),
  };
}

export function nodeMetrics(
  sandboxes: readonly Sandbox[],
  containers: readonly Container[],
): NodeMetrics {
  return {
    filesystem: { device: "/dev/sda1", sizeBytes: 1_000_000, inodes: 5000, freeInodes: 4000 },
    pods: sandboxes.map((sandbox) => ({
      sandbox,
      network: podStats(sandbox, []).network,
      containers: containers
        .filter(({ sandboxId }) => sandboxId === sandbox.id)
        .map((container) => ({
          container,
          atNs: 1_700_000_009_000_000_001n,
          usage: reading,
          writableLayer: { usedBytes: 4096, inodes: 7, atNs: 900n },
          cpu: {
            userNs: 10_000_000_000n,
            systemNs: 2_345_678_901n,
            periods: 9,
            throttledPeriods: 4,
            throttledNs: 3_900_000_000n,
          },
          memory: {
            cacheBytes: 500,
            activeFileBytes: 150,
            inactiveFileBytes: 350,
            mappedFileBytes: 400,
            kernelBytes: 300,
            swapBytes: 10,
            swapLimitBytes: 9000,
            peakBytes: 3500,
            limitHits: 6,
            oomKills: 1,
            ownPageFaults: 30,
            ownMajorPageFaults: 1,
          },
          disks: [
            {
              ...{ device: "/dev/sda", major: 8, minor: 0 },
              ...{ readBytes: 100, writtenBytes: 200, reads: 1, writes: 2 },
            },
          ],
          hugePages: [{ pageSize: "2MB", usageBytes: 0, peakBytes: undefined }],
          tasks: { current: 5, max: undefined },
          processes: { count: 3, descriptors: 20, sockets: 2, descriptorLimit: 1024 },
        })),
    })),
  };
}
