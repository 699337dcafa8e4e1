import { RestartPolicyName } from "../../gen/crib/admin/v1/admin_pb.ts";
import { defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { parseCredentials } from "../image/credentials.ts";
import { requireTerminal } from "../input.ts";
import { parseLabels } from "../labels.ts";
import {
  defaultLogFiles,
  defaultLogSize,
  parseLogOptions,
  parseRestart,
} from "../run/policy-options.ts";
import { runAttached } from "../run/run-attached.ts";
import { makeRunConfigs } from "../run/run-config.ts";
import {
  cpuPeriodUs,
  parseCpus,
  parseDevice,
  parseEnv,
  parseMemory,
  parsePort,
  parseUser,
  parseVolume,
} from "../run/run-options.ts";
import { followPod, startPod } from "../run/run-pod.ts";

export const run = defineCommand({
  name: "run",
  group: "containers and pods",
  summary: "run a container in a pod of its own",
  usage: "IMAGE [ARGUMENT...]",
  details:
    "Pulls the image when it is not here. In the foreground it prints what the container writes, stops it on Ctrl-C (killing it on the second) and answers its exit code; `crib rm` removes the pod. With -it every key goes to the container; ctrl-p ctrl-q leaves it running (`crib attach` comes back).",
  examples: [
    "crib run --rm docker.io/library/alpine:3 uname -a",
    "crib run --rm -it docker.io/library/alpine:3 sh",
    "crib run -d --name web -p 8080:80 docker.io/library/nginx:1",
    "crib run --rm -v /srv/data:/data:ro --memory 64m registry.local/app:1",
  ],
  options: {
    name: {
      kind: "value",
      argument: "NAME",
      help: "of pod and container (default: from the image)",
    },
    detach: { kind: "flag", short: "d", help: "print the container's id and leave it running" },
    interactive: { kind: "flag", short: "i", help: "give the container this stdin" },
    tty: { kind: "flag", short: "t", help: "give the container a terminal" },
    rm: { kind: "flag", help: "remove the pod when container or command has ended" },
    restart: {
      kind: "value",
      argument: "POLICY",
      help: "no, on-failure[:N], always, unless-stopped",
    },
    "log-opt": {
      kind: "list",
      argument: "NAME=VALUE",
      help: `max-size=${defaultLogSize} (-1: no limit), max-file=${defaultLogFiles}`,
    },
    env: { kind: "list", short: "e", argument: "NAME=VALUE", help: "environment variable" },
    volume: { kind: "list", short: "v", argument: "HOST:CONTAINER[:ro]", help: "bind mount" },
    publish: {
      kind: "list",
      short: "p",
      argument: "HOST:CONTAINER",
      help: "[IP:]HOST:CONTAINER[/udp]",
    },
    user: { kind: "value", short: "u", argument: "USER", help: "name, UID or UID:GID" },
    workdir: { kind: "value", short: "w", argument: "DIR", help: "working directory" },
    entrypoint: { kind: "value", argument: "PROGRAM", help: "in place of the image's" },
    memory: { kind: "value", short: "m", argument: "SIZE", help: "limit, as in 64m" },
    cpus: { kind: "value", argument: "N", help: "limit, as in 0.5" },
    label: { kind: "list", short: "l", argument: "NAME=VALUE", help: "label of pod and container" },
    hostname: { kind: "value", argument: "NAME", help: "of the pod (its name)" },
    "cap-add": { kind: "list", argument: "CAPABILITY", help: "as in NET_ADMIN; ALL is all" },
    "cap-drop": { kind: "list", argument: "CAPABILITY", help: "as in CHOWN; ALL is all" },
    device: { kind: "list", argument: "PATH", help: "of the node: /HOST[:/CONTAINER[:rwm]]" },
    "read-only": { kind: "flag", help: "the image's files cannot be changed" },
    privileged: { kind: "flag", help: "all devices and capabilities, no confinement" },
    "host-network": { kind: "flag", help: "the node's network" },
    "host-pid": { kind: "flag", help: "the node's processes" },
    "pod-namespace": { kind: "value", argument: "NAME", help: "Kubernetes namespace (default)" },
    runtime: { kind: "value", argument: "HANDLER", help: "runtime handler, as in crun" },
    pull: { kind: "value", argument: "WHEN", help: "missing, always or never" },
    creds: { kind: "value", argument: "USER:PASS", help: "credentials for the registry" },
  },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY, commandAfter: 1 },
  async run(env, options, [image = "", ...args]) {
    const restart = parseRestart(options.restart);
    if (options.rm && restart.name !== RestartPolicyName.NO) {
      throw new UsageError("--rm and --restart exclude each other");
    }
    const policy = { restart, logLimits: parseLogOptions(options["log-opt"]), remove: options.rm };
    const { interactive, tty } = options;
    if (interactive && tty && !options.detach) requireTerminal(env.input);
    const configs = makeRunConfigs({
      image,
      args,
      entrypoint: options.entrypoint,
      name: options.name,
      namespace: options["pod-namespace"] ?? "default",
      stdin: !interactive ? "none" : options.detach ? "open" : "once",
      tty,
      hostNetwork: options["host-network"],
      hostPid: options["host-pid"],
      privileged: options.privileged,
      hostname: options.hostname,
      readOnly: options["read-only"],
      capabilities: { add: options["cap-add"], drop: options["cap-drop"] },
      devices: options.device.map(parseDevice),
      workingDir: options.workdir,
      envs: options.env.map((text) => parseEnv(text, env.variables)),
      mounts: options.volume.map(parseVolume),
      ports: options.publish.map(parsePort),
      labels: parseLabels(options.label),
      user: options.user === undefined ? {} : parseUser(options.user),
      resources: {
        ...(options.memory && { memoryLimitInBytes: parseMemory(options.memory) }),
        ...(options.cpus && { cpuQuota: parseCpus(options.cpus), cpuPeriod: cpuPeriodUs }),
      },
    });
    const pull = parsePull(options.pull);
    using cri = env.connect();
    const credentials = parseCredentials(options.creds ?? env.variables["CRIB_CREDS"]);
    const runtimeHandler = options.runtime ?? "";
    const { detach } = options;
    const request = { configs, runtimeHandler, pull, credentials, policy, detach };
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
  },
});

const pullChoices = ["missing", "always", "never"] as const;

function parsePull(text = "missing"): (typeof pullChoices)[number] {
  const choice = pullChoices.find((known) => known === text);
  if (choice === undefined) throw new UsageError(`--pull ${text}: not ${pullChoices.join(", ")}`);
  return choice;
}
