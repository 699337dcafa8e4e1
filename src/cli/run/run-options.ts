import { isAbsolute, normalize } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { UsageError } from "../failure.ts";

/** The small languages of `crib run`'s options, each parsed to what CRI wants. */

/** `NAME=VALUE`, or `NAME` for the value it has here. */
export function parseEnv(
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
): MessageInitShape<typeof pb.KeyValueSchema> {
  const equals = text.indexOf("=");
  const key = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? variables[key] : text.slice(equals + 1);
  if (key === "") throw new UsageError(`--env ${text}: not NAME=VALUE`);
  if (value === undefined) throw new UsageError(`--env ${text}: not set here`);
  return { key, value: Buffer.from(value) };
}

/** `HOST:CONTAINER` or `HOST:CONTAINER:ro`, both absolute. */
export function parseVolume(text: string): MessageInitShape<typeof pb.MountSchema> {
  const [hostPath = "", containerPath = "", mode = "rw", ...more] = text.split(":");
  if (!isAbsolute(hostPath) || !isAbsolute(containerPath) || more.length > 0) {
    throw new UsageError(`--volume ${text}: not /HOST:/CONTAINER[:ro]`);
  }
  if (mode !== "ro" && mode !== "rw") throw new UsageError(`--volume ${text}: neither ro nor rw`);
  return {
    hostPath: normalize(hostPath),
    containerPath: normalize(containerPath),
    readonly: mode === "ro",
    propagation: pb.MountPropagation.PROPAGATION_PRIVATE,
  };
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
  /^(?:(?<ip>\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.]+\]):)?(?<host>\d{1,5}):(?<container>\d{1,5})(?:\/(?<protocol>tcp|udp|sctp))?$/;

/** `[IP:]HOST:CONTAINER[/udp]` */
export function parsePort(text: string): MessageInitShape<typeof pb.PortMappingSchema> {
  const { ip = "", host, container, protocol = "tcp" } = portForm.exec(text)?.groups ?? {};
  const [hostPort, containerPort] = [Number(host), Number(container)];
  const isPort = (port: number) => port >= 1 && port <= 65_535;
  if (!isPort(hostPort) || !isPort(containerPort)) {
    throw new UsageError(`--publish ${text}: not [IP:]HOST:CONTAINER[/udp]`);
  }
  return {
    hostIp: ip.replace(/[[\]]/g, ""),
    hostPort,
    containerPort,
    protocol: protocols[protocol as keyof typeof protocols],
  };
}

const sizeUnits = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 } as const;

export function parseMemory(text: string): bigint {
  return parseSize("--memory ", text);
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
