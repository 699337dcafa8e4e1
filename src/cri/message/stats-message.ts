import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { CgroupReading, ContainerStats } from "../../container/stats.ts";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { InterfaceCounters, PodStats } from "../../sandbox/usage/stats.ts";

type Init<Schema extends Parameters<typeof create>[0]> = MessageInitShape<Schema>;

/** `mountpoint` is where writable layers are: the one that ImageFsInfo returns. */
export function toContainerStats(
  stats: ContainerStats,
  mountpoint: string,
): Init<typeof pb.ContainerStatsSchema> {
  const { container, atNs, cgroup, writableLayer } = stats;
  const { metadata, labels, annotations } = container.config;
  return {
    attributes: {
      id: container.id,
      metadata: metadata ?? create(pb.ContainerMetadataSchema),
      labels,
      annotations,
    },
    ...(cgroup === undefined ? {} : { ...common(cgroup, atNs), swap: swap(cgroup, atNs) }),
    ...(writableLayer === undefined
      ? {}
      : {
          writableLayer: {
            timestamp: writableLayer.atNs,
            fsId: { mountpoint },
            usedBytes: wrap(writableLayer.usedBytes),
            inodesUsed: wrap(writableLayer.inodes),
          },
        }),
  };
}

/** The kubelet reads `attributes`, `linux` and `network.default_interface` without looking whether they are there. */
export function toPodStats(
  stats: PodStats,
  mountpoint: string,
): Init<typeof pb.PodSandboxStatsSchema> {
  const { sandbox, atNs, cgroup, processes } = stats;
  const { metadata, labels, annotations } = sandbox.config;
  return {
    attributes: {
      id: sandbox.id,
      metadata: metadata ?? create(pb.PodSandboxMetadataSchema),
      labels,
      annotations,
    },
    linux: {
      ...(cgroup === undefined
        ? {}
        : {
            ...common(cgroup, atNs),
            process: { timestamp: atNs, processCount: wrap(processes) },
          }),
      ...(stats.network === undefined ? {} : { network: network(stats.network, atNs) }),
      containers: stats.containers.map((one) => toContainerStats(one, mountpoint)),
    },
  };
}

function common(cgroup: CgroupReading, timestamp: bigint) {
  return {
    cpu: cpu(cgroup, timestamp),
    memory: memory(cgroup, timestamp),
    io: cgroup.ioPressure && { timestamp, psi: pressure(cgroup.ioPressure) },
  };
}

function cpu(
  { cpu: usage, nanoCores }: CgroupReading,
  timestamp: bigint,
): Init<typeof pb.CpuUsageSchema> | undefined {
  if (usage === undefined) return undefined;
  return {
    timestamp,
    usageCoreNanoSeconds: { value: usage.usageNs },
    usageNanoCores: nanoCores === undefined ? undefined : { value: nanoCores },
    psi: usage.pressure && pressure(usage.pressure),
  };
}

function memory(
  { memory: usage }: CgroupReading,
  timestamp: bigint,
): Init<typeof pb.MemoryUsageSchema> | undefined {
  if (usage === undefined) return undefined;
  return {
    timestamp,
    workingSetBytes: wrap(usage.workingSetBytes),
    availableBytes: usage.availableBytes === undefined ? undefined : wrap(usage.availableBytes),
    usageBytes: wrap(usage.usageBytes),
    rssBytes: wrap(usage.rssBytes),
    pageFaults: wrap(usage.pageFaults),
    majorPageFaults: wrap(usage.majorPageFaults),
    psi: usage.pressure && pressure(usage.pressure),
  };
}

function swap(
  { swap: usage }: CgroupReading,
  timestamp: bigint,
): Init<typeof pb.SwapUsageSchema> | undefined {
  if (usage === undefined) return undefined;
  return {
    timestamp,
    swapUsageBytes: wrap(usage.usageBytes),
    swapAvailableBytes: usage.availableBytes === undefined ? undefined : wrap(usage.availableBytes),
  };
}

type Pressure = NonNullable<CgroupReading["ioPressure"]>;

function pressure({ some, full }: Pressure): Init<typeof pb.PsiStatsSchema> {
  return { Some: pressureLine(some), Full: pressureLine(full) };
}

function pressureLine(line: Pressure["some"]): Init<typeof pb.PsiDataSchema> {
  return { Total: line.totalNs, Avg10: line.avg10, Avg60: line.avg60, Avg300: line.avg300 };
}

/**
 * A plugin may name the interface otherwise; then the first one is the default. `interfaces` has all of them, the default
 * one too, although the proto says without it: the kubelet's summary shows this list alone as `network.interfaces`, and
 * has had eth0 in it from cAdvisor, as it has from containerd.
 */
function network(
  interfaces: readonly InterfaceCounters[],
  timestamp: bigint,
): Init<typeof pb.NetworkUsageSchema> {
  const standard = interfaces.find(({ name }) => name === "eth0") ?? interfaces[0];
  return {
    timestamp,
    defaultInterface: standard === undefined ? { name: "eth0" } : toInterface(standard),
    interfaces: interfaces.map(toInterface),
  };
}

function toInterface({
  name,
  received,
  sent,
}: InterfaceCounters): Init<typeof pb.NetworkInterfaceUsageSchema> {
  return {
    name,
    rxBytes: wrap(received.bytes),
    rxErrors: wrap(received.errors),
    txBytes: wrap(sent.bytes),
    txErrors: wrap(sent.errors),
  };
}

function wrap(value: number): Init<typeof pb.UInt64ValueSchema> {
  return { value: BigInt(value) };
}
