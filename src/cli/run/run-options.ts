import { isAbsolute } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { UsageError } from "../failure.ts";

/** The small languages of `crib run`'s options, each parsed to what CRI wants. */

/** `NAME=VALUE`, or `NAME` for the value it has here; one that has none here is left out. */
export function parseEnv(
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
): readonly MessageInitShape<typeof pb.KeyValueSchema>[] {
  const equals = text.indexOf("=");
  const key = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? variables[key] : text.slice(equals + 1);
  if (key === "") throw new UsageError(`--env ${text}: not NAME=VALUE`);
  return value === undefined ? [] : [{ key, value: Buffer.from(value) }];
}

/** `/HOST`, `/HOST:/CONTAINER` or `/HOST:/CONTAINER:rwm`. */
export function parseDevice(text: string): MessageInitShape<typeof pb.DeviceSchema> {
  const [hostPath = "", containerPath = hostPath, permissions = "rwm", ...more] = text.split(":");
  const arePaths = isAbsolute(hostPath) && isAbsolute(containerPath);
  if (!arePaths || !/^[rwm]{1,3}$/.test(permissions) || more.length > 0) {
    throw new UsageError(`--device ${text}: not /HOST[:/CONTAINER[:rwm]]`);
  }
  return { hostPath, containerPath, permissions };
}

const protocols = {
  tcp: pb.Protocol.TCP,
  udp: pb.Protocol.UDP,
  sctp: pb.Protocol.SCTP,
} as const;

const portForm =
  /^(?:(?<ip>\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.]+\]):)?(?<host>\d{1,5}(?:-\d{1,5})?):(?<container>\d{1,5}(?:-\d{1,5})?)(?:\/(?<protocol>tcp|udp|sctp))?$/;

const maxRange = 1000;

/** `[IP:]HOST:CONTAINER[/udp]`; both may be ranges of the same length. */
export function parsePorts(text: string): readonly MessageInitShape<typeof pb.PortMappingSchema>[] {
  const {
    ip = "",
    host = "",
    container = "",
    protocol = "tcp",
  } = portForm.exec(text)?.groups ?? {};
  const [hostPorts, containerPorts] = [portRange(host), portRange(container)];
  if (hostPorts.length === 0 || hostPorts.length !== containerPorts.length) {
    throw new UsageError(`--publish ${text}: not [IP:]HOST:CONTAINER[/udp]`);
  }
  return hostPorts.map((hostPort, i) => ({
    hostIp: ip.replace(/[[\]]/g, ""),
    hostPort,
    containerPort: containerPorts[i] ?? 0,
    protocol: protocols[protocol as keyof typeof protocols],
  }));
}

/** Empty for what is none. */
function portRange(text: string): readonly number[] {
  const [first = 0, last = first] = text.split("-").map(Number);
  if (first < 1 || last > 65_535 || last < first || last - first >= maxRange) return [];
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const sizeUnits = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 } as const;

/** Docker's: with less no container starts. */
const minMemory = 6n << 20n;

export function parseMemory(text: string): bigint {
  const bytes = parseSize("--memory ", text);
  if (bytes < minMemory) throw new UsageError(`--memory ${text}: less than 6m, the minimum`);
  return bytes;
}

/** `64m`, `1g`, `1073741824`: bytes in powers of 1024. `option` comes first in the error. */
export function parseSize(option: string, text: string): bigint {
  const match = /^(\d{1,15})([kmgt]?)i?b?$/i.exec(text);
  const unit = (match?.[2] ?? "").toLowerCase() as keyof typeof sizeUnits;
  const bytes = BigInt(match?.[1] ?? 0) * BigInt(sizeUnits[unit]);
  if (bytes <= 0n || bytes > 2n ** 62n) throw new UsageError(`${option}${text}: not a size`);
  return bytes;
}

export const cpuPeriodUs = 100_000n;

/** `0.5` CPUs as the quota of a period of `cpuPeriodUs`. */
export function parseCpus(text: string): bigint {
  const cpus = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || cpus < 0.01 || cpus > 10_000) {
    throw new UsageError(`--cpus ${text}: not a number of CPUs`);
  }
  return BigInt(Math.round(cpus * Number(cpuPeriodUs)));
}

/** CDI's names of devices: `vendor.com/class=name`. */
export function isCdiDevice(text: string): boolean {
  return /^[A-Za-z][\w.-]*\/[A-Za-z][\w-]*=[\w.:-]+$/.test(text);
}

/** A group's number: the names of an image's groups are not looked up. */
export function parseGroup(text: string): bigint {
  if (/^\d{1,10}$/.test(text)) return BigInt(text);
  throw new UsageError(`--group-add ${text}: not a number`);
}

/** The part of CRI's security context that says who runs. */
export interface RunUser {
  readonly runAsUser?: { value: bigint };
  readonly runAsGroup?: { value: bigint };
  readonly runAsUsername?: string;
}

/** `UID`, `UID:GID` or a user name of the image. */
export function parseUser(text: string): RunUser {
  const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text);
  if (match === null) {
    if (!/^[a-z_][a-z0-9_.-]*$/i.test(text)) throw new UsageError(`--user ${text}: no user`);
    return { runAsUsername: text };
  }
  const [, uid = "", gid] = match;
  const runAsGroup = gid === undefined ? {} : { runAsGroup: { value: BigInt(gid) } };
  return { runAsUser: { value: BigInt(uid) }, ...runAsGroup };
}
