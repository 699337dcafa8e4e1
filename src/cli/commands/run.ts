import { existsSync } from "node:fs";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type PodExtrasSchema, RestartPolicyName } from "../../gen/crib/admin/v1/admin_pb.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { parseCredentials } from "../image/credentials.ts";
import { requireTerminal } from "../input.ts";
import { parseLabels } from "../labels.ts";
import { readEnvFile } from "../run/env-file.ts";
import { parseInteger, parsePidsLimit, parseResources, parseUlimit } from "../run/limit-options.ts";
import { parseMount, parseTmpfs, parseVolume, type RunMount } from "../run/mount-options.ts";
import {
  parseAddHost,
  parseDns,
  parseNetwork,
  parseSysctls,
  type RunNetwork,
} from "../run/network-options.ts";
import { checkPlatform } from "../run/platform.ts";
import { parseLogOptions, parseRestart } from "../run/policy-options.ts";
import { runAttached } from "../run/run-attached.ts";
import { makeRunConfigs } from "../run/run-config.ts";
import {
  isCdiDevice,
  parseDevice,
  parseEnv,
  parseGroup,
  parsePorts,
  parseSize,
  parseUser,
} from "../run/run-options.ts";
import { followPod, startPod } from "../run/run-pod.ts";
import { parseSecurity, parseStopSignal } from "../run/security-options.ts";
import { getTarget, podIdOf } from "../target.ts";

export const run = implementCommand("run", async (env, options, [image = "", ...args]) => {
  const restart = parseRestart(options.restart);
  if (options.rm && restart.name !== RestartPolicyName.NO) {
    throw new UsageError("--rm and --restart exclude each other");
  }
  const policy = { restart, logLimits: parseLogOptions(options["log-opt"]), remove: options.rm };
  const { interactive, tty, detach, cidfile: cidFile, runtime: runtimeHandler = "" } = options;
  if (interactive && tty && !detach) requireTerminal(env.input);
  checkPlatform(options.platform);
  const network = networkOf(options);
  const mounts = [
    ...options.volume.map(parseVolume),
    ...options.mount.map(parseMount),
    ...options.tmpfs.map(parseTmpfs),
  ];
  refuseTwice(mounts);
  const stopTimeout = options["stop-timeout"];
  const configs = makeRunConfigs({
    image,
    args,
    entrypoint: options.entrypoint,
    name: options.name,
    namespace: options["pod-namespace"] ?? "default",
    stdin: !interactive ? "none" : detach ? "open" : "once",
    tty,
    network,
    pid: pidOf(options),
    hostIpc: isHostIpc(options.ipc),
    privileged: options.privileged,
    hostname: options.hostname,
    readOnly: options["read-only"],
    capabilities: { add: options["cap-add"], drop: options["cap-drop"] },
    devices: options.device.filter((text) => !isCdiDevice(text)).map(parseDevice),
    cdiDevices: options.device.filter(isCdiDevice),
    workingDir: options.workdir,
    envs: [
      ...options["env-file"].flatMap((file) => readEnvFile(file, env.variables)),
      ...options.env.flatMap((text) => parseEnv(text, env.variables)),
    ],
    mounts,
    ports: options.publish.flatMap(parsePorts),
    labels: parseLabels(options.label),
    annotations: parseLabels(options.annotation, "--annotation"),
    user: options.user === undefined ? {} : parseUser(options.user),
    groups: options["group-add"].map(parseGroup),
    dns: parseDns(options),
    sysctls: parseSysctls(options.sysctl),
    security: parseSecurity(options["security-opt"]),
    stopSignal: parseStopSignal(options["stop-signal"]),
    stopSeconds:
      stopTimeout === undefined ? undefined : parseInteger("stop-timeout", stopTimeout, 0, 1e6),
    resources: parseResources(options),
  });
  const shm = options["shm-size"];
  const extras: MessageInitShape<typeof PodExtrasSchema> = {
    rlimits: options.ulimit.map(parseUlimit),
    shmSizeBytes: shm === undefined ? 0n : parseSize("--shm-size ", shm),
    pidsLimit: parsePidsLimit(options["pids-limit"]),
    hostAliases: options["add-host"].map(parseAddHost),
    noNetwork: network.kind === "none",
    ...extrasOf(mounts),
  };
  const pull = pullChoices.find((known) => known === options.pull) ?? "missing";
  if (cidFile !== undefined && existsSync(cidFile)) {
    throw failedPrecondition(`--cidfile ${cidFile}: it is there already`);
  }
  using cri = env.connect();
  const credentials = parseCredentials(options.creds ?? env.variables["CRIB_CREDS"]);
  const networkOfPod = await sharedPodOf(cri, network, env.ctx.signal);
  const request = {
    ...{ configs, runtimeHandler, pull, credentials, policy, detach, cidFile },
    extras: { ...extras, networkOfPod },
    quiet: options.quiet,
  };
  if (detach) {
    const { containerId } = await startPod(env, cri, request);
    env.out.write(`${containerId}\n`);
    return exitCodes.ok;
  }
  if (interactive || tty) {
    return await runAttached(env, cri, request, { stdin: interactive, tty, remove: options.rm });
  }
  const started = await startPod(env, cri, request);
  return await followPod(env, cri, started, { remove: options.rm });
});

const pullChoices = ["missing", "always", "never"] as const;

function networkOf(options: {
  readonly network: string | undefined;
  readonly "host-network": boolean;
  readonly publish: readonly string[];
  readonly hostname: string | undefined;
}): RunNetwork {
  if (options["host-network"] && options.network !== undefined && options.network !== "host") {
    throw new UsageError("--host-network excludes --network");
  }
  const network = parseNetwork(options["host-network"] ? "host" : options.network);
  if (network.kind !== "pod" && options.publish.length > 0) {
    throw new UsageError(`--publish excludes --network ${options.network ?? "host"}`);
  }
  if (network.kind === "container" && options.hostname !== undefined) {
    throw new UsageError("--hostname excludes --network container: it has that one's name");
  }
  return network;
}

function pidOf(options: {
  readonly pid: string | undefined;
  readonly "host-pid": boolean;
  readonly init: boolean;
}): "own" | "host" | "init" {
  const { pid = options["host-pid"] ? "host" : "" } = options;
  if (pid !== "" && pid !== "host") {
    throw new UsageError(
      `--pid ${pid}: not host; containers that share processes are containers of one pod`,
    );
  }
  if (pid === "host") {
    if (options.init) throw new UsageError("--init excludes --pid host: the node has an init");
    return "host";
  }
  return options.init ? "init" : "own";
}

function isHostIpc(text: string | undefined): boolean {
  if (text === undefined || text === "private" || text === "shareable" || text === "") return false;
  if (text === "host") return true;
  throw new UsageError(`--ipc ${text}: not host, private or shareable`);
}

function refuseTwice(mounts: readonly RunMount[]): void {
  const places = mounts.map((one) =>
    "mount" in one ? (one.mount.containerPath ?? "") : one.containerPath,
  );
  const plain = places.map((path) => path.replace(/(?<=.)\/$/, ""));
  const twice = plain.find((path, i) => plain.indexOf(path) !== i);
  if (twice !== undefined) throw new UsageError(`two mounts at ${twice}`);
}

function extrasOf(mounts: readonly RunMount[]): MessageInitShape<typeof PodExtrasSchema> {
  return {
    tmpfs: mounts.flatMap((one) =>
      one.kind === "tmpfs" ? [{ destination: one.containerPath, options: [...one.options] }] : [],
    ),
    volumes: mounts.flatMap((one) => (one.kind === "anonymous" ? [one.containerPath] : [])),
    namedVolumes: mounts.flatMap((one) => {
      if (one.kind !== "volume") return [];
      const { containerPath = "", readonly = false } = one.mount;
      return [{ name: one.name, containerPath, readonly, fill: one.copies }];
    }),
  };
}

/** The id of the pod whose network is shared; empty for none. */
async function sharedPodOf(
  cri: CriClient,
  network: RunNetwork,
  signal: AbortSignal,
): Promise<string> {
  if (network.kind !== "container") return "";
  const kinds = { pod: false, container: false };
  return podIdOf(await getTarget(cri, network.key, kinds, signal));
}
