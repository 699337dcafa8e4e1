import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../../lib/errors.ts";
import type { SpecHost } from "../host.ts";

export interface SelinuxLabels {
  readonly process: string;
  readonly mount: string;
}

const level = /^s[0-9]{1,2}(-s[0-9]{1,2})?(:c[0-9]{1,4}([.,]c[0-9]{1,4}){0,1023})?$/;
const name = /^[A-Za-z0-9_]{1,128}$/;

/**
 * Labels for a container that names its own SELinux options, where the kernel has SELinux; what it leaves out has the
 * policy's usual value for containers. undefined leaves the process with the label that the daemon's has. A privileged
 * container is not confined.
 */
export function selinuxLabels(
  context: pb.LinuxContainerSecurityContext | undefined,
  host: Pick<SpecHost, "selinux">,
): SelinuxLabels | undefined {
  const options = context?.selinuxOptions;
  if (!host.selinux || options === undefined) return undefined;
  const part = (value: string, fallback: string, pattern: RegExp): string => {
    if (value === "") return fallback;
    if (!pattern.test(value)) throw invalidArgument(`SELinux option ${JSON.stringify(value)}`);
    return value;
  };
  const user = part(options.user, "system_u", name);
  const role = part(options.role, "system_r", name);
  const unconfined = context?.privileged === true ? "spc_t" : "container_t";
  const type = part(options.type, unconfined, name);
  const range = part(options.level, "s0", level);
  return {
    process: `${user}:${role}:${type}:${range}`,
    mount: `${user}:object_r:container_file_t:${range}`,
  };
}
