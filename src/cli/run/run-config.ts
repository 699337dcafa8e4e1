import { createHash, randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { nodePaths } from "../../lib/node-paths.ts";
import { UsageError } from "../failure.ts";
import type { RunMount } from "./mount-options.ts";
import type { RunNetwork } from "./network-options.ts";
import type { RunUser } from "./run-options.ts";
import type { RunSecurity } from "./security-options.ts";

/** On the pods and containers that `crib run` makes: names this run, and the directory of its logs. */
export const runLabel = "crib.local/run";

/** How long `crib stop` waits for a container, in seconds, where its run has said so. */
export const stopSecondsAnnotation = "crib.local/stop-timeout";

/** Where the logs of a run are; `undefined` for a label that `crib run` cannot have made. */
export function runLogDirectory(run: string | undefined): string | undefined {
  return run !== undefined && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(run)
    ? `${nodePaths.podLogs}/${run}`
    : undefined;
}

/** What `crib run` was asked for, parsed. */
export interface RunRequest {
  readonly image: string;
  readonly args: readonly string[];
  readonly entrypoint: string | undefined;
  readonly name: string | undefined;
  readonly namespace: string;
  /** stdin is open: until its one client leaves, or as long as the container lives. */
  readonly stdin: "none" | "once" | "open";
  readonly tty: boolean;
  readonly network: RunNetwork;
  /** `init`: another process is the first one, and reaps those that nobody waits for. */
  readonly pid: "own" | "host" | "init";
  readonly hostIpc: boolean;
  readonly privileged: boolean;
  readonly hostname: string | undefined;
  readonly readOnly: boolean;
  readonly capabilities: { readonly add: readonly string[]; readonly drop: readonly string[] };
  readonly devices: readonly MessageInitShape<typeof pb.DeviceSchema>[];
  readonly workingDir: string | undefined;
  readonly envs: readonly MessageInitShape<typeof pb.KeyValueSchema>[];
  readonly mounts: readonly RunMount[];
  readonly ports: readonly MessageInitShape<typeof pb.PortMappingSchema>[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly user: RunUser;
  /** Numbers. */
  readonly groups: readonly bigint[];
  /** Names of CDI. */
  readonly cdiDevices: readonly string[];
  readonly dns: MessageInitShape<typeof pb.DNSConfigSchema> | undefined;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly security: RunSecurity;
  readonly stopSignal: pb.Signal;
  /** `crib stop` waits so long for the container, unless another time is given. */
  readonly stopSeconds: number | undefined;
  readonly resources: MessageInitShape<typeof pb.LinuxContainerResourcesSchema>;
}

export interface RunConfigs {
  readonly sandbox: pb.PodSandboxConfig;
  readonly container: pb.ContainerConfig;
}

/** The pod and its one container, both called alike, as a kubelet would describe them. */
export function makeRunConfigs(request: RunRequest): RunConfigs {
  const name = request.name ?? inventName(request.image);
  if (!/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(name)) {
    throw new UsageError(`--name ${name}: not lower-case letters, digits, "-" and "."`);
  }
  const run = randomUUID();
  const labels = { ...request.labels, [runLabel]: run };
  const { NODE, POD, CONTAINER } = pb.NamespaceMode;
  const isHostNetwork = request.network.kind === "host";
  const namespaceOptions = {
    network: isHostNetwork ? NODE : POD,
    pid: { own: CONTAINER, host: NODE, init: POD }[request.pid],
    ipc: request.hostIpc ? NODE : POD,
  };
  const annotations = {
    ...request.annotations,
    ...(request.stopSeconds === undefined
      ? {}
      : { [stopSecondsAnnotation]: String(request.stopSeconds) }),
  };
  const sandbox = create(pb.PodSandboxConfigSchema, {
    metadata: {
      name,
      uid: uidOf(request.namespace, name),
      namespace: request.namespace,
      attempt: 0,
    },
    // The node's name stays in the node's network: sharing it, the pod may not change it.
    hostname: isHostNetwork ? "" : (request.hostname ?? name),
    logDirectory: `${nodePaths.podLogs}/${run}`,
    portMappings: [...request.ports],
    labels,
    annotations,
    ...(request.dns === undefined ? {} : { dnsConfig: request.dns }),
    linux: {
      sysctls: { ...request.sysctls },
      securityContext: { namespaceOptions, privileged: request.privileged },
    },
  });
  const container = create(pb.ContainerConfigSchema, {
    metadata: { name, attempt: 0 },
    image: { image: request.image, userSpecifiedImage: request.image },
    ...commandOf(request),
    workingDir: request.workingDir ?? "",
    envs: [...request.envs],
    mounts: request.mounts.flatMap((one) =>
      one.kind === "bind" || one.kind === "image" ? [one.mount] : [],
    ),
    devices: [...request.devices],
    CDIDevices: request.cdiDevices.map((device) => ({ name: device })),
    labels,
    annotations,
    stopSignal: request.stopSignal,
    stdin: request.stdin !== "none",
    stdinOnce: request.stdin === "once",
    tty: request.tty,
    logPath: `${name}/0.log`,
    linux: {
      resources: request.resources,
      securityContext: {
        namespaceOptions,
        privileged: request.privileged,
        readonlyRootfs: request.readOnly,
        capabilities: {
          addCapabilities: [...request.capabilities.add],
          dropCapabilities: [...request.capabilities.drop],
        },
        ...request.user,
        supplementalGroups: [...request.groups],
        noNewPrivs: request.security.noNewPrivs,
        ...(request.privileged ? {} : { seccomp: request.security.seccomp }),
        ...(request.security.apparmor === undefined || request.privileged
          ? {}
          : { apparmor: request.security.apparmor }),
        ...(request.privileged || request.security.showsSystemPaths ? {} : confined),
      },
    },
  });
  return { sandbox, container };
}

/** What a kubelet masks and makes read-only in every container that is not privileged (ProcMount Default). */
const confined = {
  maskedPaths: [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
  ],
  readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
};

/**
 * The same for the same name: of two runs that take it at the same instant the daemon refuses one, because they are the
 * same attempt of the same pod, with different logs.
 */
/** As docker's: an empty entrypoint leaves nothing of the image's, and the arguments are the command. */
function commandOf({ entrypoint, args }: RunRequest) {
  if (entrypoint !== "")
    return { command: entrypoint === undefined ? [] : [entrypoint], args: [...args] };
  if (args.length === 0) throw new UsageError('--entrypoint "": a command has to follow the image');
  return { command: [...args], args: [] };
}

function uidOf(namespace: string, name: string): string {
  const hex = createHash("sha256").update(`${namespace}/${name}`).digest("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");
}

/** `docker.io/library/alpine:3` becomes `alpine-1f2e3d`. */
function inventName(image: string): string {
  const last = image.replace(/@.*$/, "").split("/").at(-1) ?? "";
  const base = last
    .replace(/:.*$/, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-");
  const trimmed = base.replace(/^-+|-+$/g, "").slice(0, 40) || "pod";
  return `${trimmed}-${randomUUID().slice(0, 6)}`;
}
