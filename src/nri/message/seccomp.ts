import type * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { SpecSeccomp } from "../../oci/runtime-spec.ts";
import { compact } from "./compact.ts";

/** A filter as plugins see it. */
export function toNriSeccomp(policy: SpecSeccomp) {
  const optional = (value: number | undefined) => (value === undefined ? undefined : { value });
  return compact({
    defaultAction: policy.defaultAction,
    defaultErrno: optional(policy.defaultErrnoRet),
    architectures: [...(policy.architectures ?? [])],
    flags: [...(policy.flags ?? [])],
    listenerPath: policy.listenerPath ?? "",
    listenerMetadata: policy.listenerMetadata ?? "",
    syscalls: policy.syscalls.map(({ names, action, errnoRet, args = [] }) =>
      compact({
        names: [...names],
        action,
        errnoRet: optional(errnoRet),
        args: args.map(({ index, value, valueTwo = 0, op }) => ({
          index,
          value: BigInt(value),
          valueTwo: BigInt(valueTwo),
          op,
        })),
      }),
    ),
  });
}

/** A filter of a plugin for the OCI runtime, which refuses what it does not know. */
export function toSpecSeccomp(policy: nri.LinuxSeccomp): SpecSeccomp {
  return compact({
    defaultAction: policy.defaultAction,
    defaultErrnoRet: policy.defaultErrno?.value,
    architectures: policy.architectures.length > 0 ? policy.architectures : undefined,
    flags: policy.flags.length > 0 ? policy.flags : undefined,
    listenerPath: policy.listenerPath || undefined,
    listenerMetadata: policy.listenerMetadata || undefined,
    syscalls: policy.syscalls.map(({ names, action, errnoRet, args }) =>
      compact({
        names,
        action,
        errnoRet: errnoRet?.value,
        args: args.length > 0 ? args.map(toArgument) : undefined,
      }),
    ),
  });
}

function toArgument({ index, value, valueTwo, op }: nri.LinuxSeccompArg) {
  return { index, value, valueTwo, op };
}
