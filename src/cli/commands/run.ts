import { RestartPolicyName } from "../../gen/crib/admin/v1/admin_pb.ts";
import { implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { parseCredentials } from "../image/credentials.ts";
import { requireTerminal } from "../input.ts";
import { parseLabels } from "../labels.ts";
import { parseLogOptions, parseRestart } from "../run/policy-options.ts";
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

export const run = implementCommand("run", async (env, options, [image = "", ...args]) => {
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
});

const pullChoices = ["missing", "always", "never"] as const;

function parsePull(text = "missing"): (typeof pullChoices)[number] {
  const choice = pullChoices.find((known) => known === text);
  if (choice === undefined) throw new UsageError(`--pull ${text}: not ${pullChoices.join(", ")}`);
  return choice;
}
