import { checkContainerConfig } from "../cri/request/check-container.ts";
import { checkSandboxConfig } from "../cri/request/check-sandbox.ts";
import * as pb from "../gen/crib/admin/v1/admin_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import { parsePodExtras } from "../standalone/parse-extras.ts";
import { type RunOptions, requireOwnLogDirectory } from "../standalone/pods.ts";
import type { RestartPolicy } from "../standalone/restart-policy.ts";

const maxFiles = 1000;

/** The request as CRI's own calls would judge it, and what is of a standalone pod alone. */
export function parseRunPod(request: pb.RunPodRequest): RunOptions {
  const { restartPolicy, logLimits, remove, attended, start } = request;
  const sandbox = checkSandboxConfig(request.sandboxConfig);
  requireOwnLogDirectory(sandbox);
  const restart = parseRestart(restartPolicy);
  if (remove && restart.name !== "no") {
    throw invalidArgument("a pod that is removed when it ends has no restart policy");
  }
  if (attended && start) throw invalidArgument("the client of an attended pod starts it");
  const log = {
    maxSizeBytes: Number(logLimits?.maxSizeBytes ?? 0n),
    maxFiles: logLimits?.maxFiles ?? 1,
  };
  if (log.maxSizeBytes > 0 && (log.maxFiles < 1 || log.maxFiles > maxFiles)) {
    throw invalidArgument(`log_limits.max_files: from 1 to ${maxFiles}`);
  }
  return {
    sandbox,
    container: checkContainerConfig(request.containerConfig),
    handler: request.runtimeHandler,
    restart,
    log,
    remove,
    isAttended: attended,
    start,
    extras: parsePodExtras(request.extras),
  };
}

const names: Readonly<Partial<Record<pb.RestartPolicyName, RestartPolicy["name"]>>> = {
  [pb.RestartPolicyName.UNSPECIFIED]: "no",
  [pb.RestartPolicyName.NO]: "no",
  [pb.RestartPolicyName.ON_FAILURE]: "on-failure",
  [pb.RestartPolicyName.ALWAYS]: "always",
  [pb.RestartPolicyName.UNLESS_STOPPED]: "unless-stopped",
};

function parseRestart(policy: pb.RestartPolicy | undefined): RestartPolicy {
  const name = names[policy?.name ?? pb.RestartPolicyName.UNSPECIFIED];
  if (name === undefined) throw invalidArgument("restart_policy.name: unknown");
  const maxRetries = policy?.maxRetries ?? 0;
  if (maxRetries > 0 && name !== "on-failure") {
    throw invalidArgument("restart_policy.max_retries: only of on-failure");
  }
  return { name, maxRetries };
}
