import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ResourceLimitSchema } from "../../gen/crib/admin/v1/admin_pb.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { UsageError } from "../failure.ts";
import { cpuPeriodUs, parseCpus, parseMemory, parseSize } from "./run-options.ts";

const limits = [
  ...["as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"],
  ...["nproc", "rss", "rtprio", "rttime", "sigpending", "stack"],
] as const;

/** `NAME=SOFT[:HARD]`, -1 or unlimited for no limit; a single number is both. */
export function parseUlimit(text: string): MessageInitShape<typeof ResourceLimitSchema> {
  const form =
    /^(?<name>[a-z]+)=(?<soft>-1|unlimited|\d{1,15})(?::(?<hard>-1|unlimited|\d{1,15}))?$/;
  const { name = "", soft = "", hard = soft } = form.exec(text)?.groups ?? {};
  if (name === "") throw new UsageError(`--ulimit ${text}: not NAME=SOFT[:HARD]`);
  if (!limits.some((known) => known === name)) {
    throw new UsageError(`--ulimit ${text}: "${name}" is none of ${limits.join(", ")}`);
  }
  const number = (value: string) => (value === "unlimited" ? -1n : BigInt(value));
  const limit = { name, soft: number(soft), hard: number(hard) };
  if (limit.hard >= 0n && (limit.soft < 0n || limit.soft > limit.hard)) {
    throw new UsageError(`--ulimit ${text}: the soft limit is above the hard one`);
  }
  return limit;
}

/** A whole number of a range; `option` comes first in the error. */
export function parseInteger(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^-?\d{1,15}$/.test(text) || value < least || value > most) {
    throw new UsageError(`--${option} ${text}: not a whole number from ${least} to ${most}`);
  }
  return value;
}

const maxPids = 2 ** 22;

/** -1 for no limit, which 0 means too. */
export function parsePidsLimit(text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const value = parseInteger("pids-limit", text, -1, maxPids);
  return value === 0 ? -1n : BigInt(value);
}

export interface ResourceOptions {
  readonly memory: string | undefined;
  readonly "memory-swap": string | undefined;
  readonly cpus: string | undefined;
  readonly "cpu-shares": string | undefined;
  readonly "cpu-period": string | undefined;
  readonly "cpu-quota": string | undefined;
  readonly "cpuset-cpus": string | undefined;
  readonly "cpuset-mems": string | undefined;
  readonly "oom-score-adj": string | undefined;
}

/** The limits that CRI knows. */
export function parseResources(
  options: ResourceOptions,
): MessageInitShape<typeof pb.LinuxContainerResourcesSchema> {
  const { memory, cpus } = options;
  const period = options["cpu-period"];
  const quota = options["cpu-quota"];
  if (cpus !== undefined && (period !== undefined || quota !== undefined)) {
    throw new UsageError("--cpus excludes --cpu-period and --cpu-quota");
  }
  const int = (name: keyof ResourceOptions, least: number, most: number) => {
    const text = options[name];
    return text === undefined ? undefined : BigInt(parseInteger(name, text, least, most));
  };
  const values = {
    memoryLimitInBytes: memory === undefined ? undefined : parseMemory(memory),
    memorySwapLimitInBytes: parseSwap(options),
    cpuQuota: cpus === undefined ? int("cpu-quota", 1000, 1e12) : parseCpus(cpus),
    cpuPeriod: cpus === undefined ? int("cpu-period", 1000, 1_000_000) : cpuPeriodUs,
    cpuShares: int("cpu-shares", 2, 262_144),
    oomScoreAdj: int("oom-score-adj", -1000, 1000),
    cpusetCpus: parseSet("cpuset-cpus", options),
    cpusetMems: parseSet("cpuset-mems", options),
  };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** With memory, as docker's: the sum of both; -1 is without limit. */
function parseSwap(options: ResourceOptions): bigint | undefined {
  const text = options["memory-swap"];
  if (text === undefined || text === "0") return undefined;
  if (options.memory === undefined) throw new UsageError("--memory-swap needs --memory");
  if (text === "-1") return -1n;
  const both = parseSize("--memory-swap ", text);
  if (both < parseMemory(options.memory)) {
    throw new UsageError(`--memory-swap ${text}: less than --memory, which it includes`);
  }
  return both;
}

function parseSet(name: "cpuset-cpus" | "cpuset-mems", options: ResourceOptions) {
  const text = options[name];
  if (text === undefined || /^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/.test(text)) return text;
  throw new UsageError(`--${name} ${text}: not a list as in 0-2,4`);
}
