import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import type { SpecCpu, SpecDeviceRule, SpecMemory, SpecResources } from "../../oci/runtime-spec.ts";
import { compact } from "./compact.ts";

type Init = MessageInitShape<typeof nri.LinuxResourcesSchema>;

/** Limits as plugins see them. */
export function toNriResources(resources: SpecResources): Init {
  const {
    memory = {},
    cpu = {},
    hugepageLimits = [],
    unified = {},
    pids,
    devices = [],
  } = resources;
  const integer = (value: number | undefined) =>
    value === undefined ? undefined : { value: BigInt(value) };
  const flag = (value: boolean | undefined) => (value === undefined ? undefined : { value });
  return compact({
    memory: compact({
      limit: integer(memory.limit),
      reservation: integer(memory.reservation),
      swap: integer(memory.swap),
      kernel: integer(memory.kernel),
      kernelTcp: integer(memory.kernelTCP),
      swappiness: integer(memory.swappiness),
      disableOomKiller: flag(memory.disableOOMKiller),
      useHierarchy: flag(memory.useHierarchy),
    }),
    cpu: compact({
      shares: integer(cpu.shares),
      quota: integer(cpu.quota),
      period: integer(cpu.period),
      realtimeRuntime: integer(cpu.realtimeRuntime),
      realtimePeriod: integer(cpu.realtimePeriod),
      cpus: cpu.cpus ?? "",
      mems: cpu.mems ?? "",
    }),
    hugepageLimits: hugepageLimits.map(({ pageSize, limit }) => ({
      pageSize,
      limit: BigInt(limit),
    })),
    unified: { ...unified },
    pids: pids === undefined ? undefined : { limit: BigInt(pids.limit) },
    devices: devices.map(({ allow, access, type, major, minor }) =>
      compact({ allow, access, type: type ?? "a", major: integer(major), minor: integer(minor) }),
    ),
  });
}

/** What plugins set, for the OCI runtime. A class is no limit: whoever knows classes looks at it. */
export function toSpecResources(resources: nri.LinuxResources): SpecResources {
  const memory = toMemory(resources.memory);
  const cpu = toCpu(resources.cpu);
  const { pids, hugepageLimits, unified, devices } = resources;
  const pages = hugepageLimits.map(({ pageSize, limit }) => ({
    pageSize,
    limit: toNumber(limit, "limit of huge pages"),
  }));
  return compact({
    memory: Object.keys(memory).length > 0 ? memory : undefined,
    cpu: Object.keys(cpu).length > 0 ? cpu : undefined,
    pids: pids === undefined ? undefined : { limit: toNumber(pids.limit, "limit of processes") },
    hugepageLimits: pages.length > 0 ? pages : undefined,
    unified: Object.keys(unified).length > 0 ? unified : undefined,
    devices: devices.length > 0 ? devices.map(toRule) : undefined,
  });
}

/** Limits of an existing container: classes and devices are for new ones. */
export function toSpecUpdate(resources: nri.LinuxResources): SpecResources {
  if (resources.blockioClass !== undefined || resources.rdtClass !== undefined) {
    throw new AppError("the class of a container that is there already", { kind: "unimplemented" });
  }
  const { devices: _fixed, ...limits } = toSpecResources(resources);
  return limits;
}

function toMemory(memory: nri.LinuxMemory | undefined): SpecMemory {
  if (memory === undefined) return {};
  const number = (value: { readonly value: bigint } | undefined, what: string) =>
    value === undefined ? undefined : toNumber(value.value, `memory ${what}`);
  return compact({
    limit: number(memory.limit, "limit"),
    reservation: number(memory.reservation, "reservation"),
    swap: number(memory.swap, "swap"),
    kernel: number(memory.kernel, "kernel"),
    kernelTCP: number(memory.kernelTcp, "kernel_tcp"),
    swappiness: number(memory.swappiness, "swappiness"),
    disableOOMKiller: memory.disableOomKiller?.value,
    useHierarchy: memory.useHierarchy?.value,
  });
}

function toCpu(cpu: nri.LinuxCPU | undefined): SpecCpu {
  if (cpu === undefined) return {};
  const number = (value: { readonly value: bigint } | undefined, what: string) =>
    value === undefined ? undefined : toNumber(value.value, `CPU ${what}`);
  return compact({
    shares: number(cpu.shares, "shares"),
    quota: number(cpu.quota, "quota"),
    period: number(cpu.period, "period"),
    realtimeRuntime: number(cpu.realtimeRuntime, "realtime runtime"),
    realtimePeriod: number(cpu.realtimePeriod, "realtime period"),
    cpus: cpu.cpus || undefined,
    mems: cpu.mems || undefined,
  });
}

function toRule({ allow, type, major, minor, access }: nri.LinuxDeviceCgroup): SpecDeviceRule {
  if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(access)) throw invalidArgument("device access");
  if (type !== "" && type !== "a" && type !== "c" && type !== "b") {
    throw invalidArgument(`device type ${JSON.stringify(type.slice(0, 20))}`);
  }
  return compact({
    allow,
    access,
    type: type === "c" || type === "b" ? type : undefined,
    major: major === undefined ? undefined : toNumber(major.value, "device number"),
    minor: minor === undefined ? undefined : toNumber(minor.value, "device number"),
  });
}

/** -1, and what is beyond what JSON can say exactly, is no limit. */
export function toNumber(value: bigint, what: string): number {
  if (value < -1n) throw invalidArgument(`${what}: ${value}`);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : Number(value);
}
