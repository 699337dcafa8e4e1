import { RestartPolicyName } from "../../gen/crib/admin/v1/admin_pb.ts";
import { UsageError } from "../failure.ts";
import { parseSize } from "./run-options.ts";

const policies = {
  no: RestartPolicyName.NO,
  "on-failure": RestartPolicyName.ON_FAILURE,
  always: RestartPolicyName.ALWAYS,
  "unless-stopped": RestartPolicyName.UNLESS_STOPPED,
} as const;

/** `no`, `on-failure`, `on-failure:N`, `always` or `unless-stopped`, with docker's meanings. */
export function parseRestart(text = "no"): {
  readonly name: RestartPolicyName;
  readonly maxRetries: number;
} {
  const match = /^([a-z-]+)(?::(\d{1,6}))?$/.exec(text);
  const [, name = "", retries] = match ?? [];
  const policy = Object.hasOwn(policies, name)
    ? policies[name as keyof typeof policies]
    : undefined;
  if (policy === undefined || (retries !== undefined && name !== "on-failure")) {
    throw new UsageError(`--restart ${text}: not no, on-failure[:N], always or unless-stopped`);
  }
  return { name: policy, maxRetries: Number(retries ?? 0) };
}

export const defaultLogSize = "10m";
export const defaultLogFiles = "5";

/** `max-size=10m` and `max-file=5`, with the meanings of docker's json-file. */
export function parseLogOptions(texts: readonly string[]): {
  readonly maxSizeBytes: bigint;
  readonly maxFiles: number;
} {
  const values = { "max-size": defaultLogSize, "max-file": defaultLogFiles };
  for (const text of texts) {
    const [, name = "", value = ""] = /^([a-z-]+)=(.*)$/.exec(text) ?? [];
    if (name !== "max-size" && name !== "max-file") {
      throw new UsageError(`--log-opt ${text}: not max-size=SIZE or max-file=N`);
    }
    values[name] = value;
  }
  const files = values["max-file"];
  const maxFiles = Number(files);
  if (!/^\d{1,4}$/.test(files) || maxFiles < 1 || maxFiles > 1000) {
    throw new UsageError(`--log-opt max-file=${files}: not a number from 1 to 1000`);
  }
  const size = values["max-size"];
  return { maxSizeBytes: size === "-1" ? 0n : parseSize("--log-opt max-size=", size), maxFiles };
}
