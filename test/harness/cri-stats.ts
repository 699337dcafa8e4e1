import type { Container } from "../../src/container/container.ts";
import type { CgroupReading, ContainerStats } from "../../src/container/stats.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { PodStats } from "../../src/sandbox/stats.ts";

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
    writableLayer: { usedBytes: 4096, inodes: 7 },
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
