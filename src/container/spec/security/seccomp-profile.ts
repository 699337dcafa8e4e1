import { invalidArgument } from "../../../lib/errors.ts";
import { asInteger, asList, asObject, asString, optional, parseJson } from "../../../lib/json.ts";
import type { SpecSeccomp, SpecSyscallArg, SpecSyscallRule } from "../../../oci/runtime-spec.ts";

const maxBytes = 1 << 20;
const actions = /^SCMP_ACT_(ALLOW|ERRNO|KILL|KILL_THREAD|KILL_PROCESS|TRAP|TRACE|LOG)$/;
const operators = /^SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/;
const archName = /^SCMP_ARCH_[A-Z0-9_]{1,24}$/;
const flagName = /^SECCOMP_FILTER_FLAG_[A-Z_]{1,32}$/;

/**
 * Reads a profile of the node's administrator: the `seccomp` object of the runtime-spec. What makes a rule apply only
 * under conditions (`includes`, `excludes` of Docker's own format) is refused rather than left out, and so are
 * notifications, for which nobody would listen.
 */
export function parseSeccompProfile(bytes: Uint8Array, what: string): SpecSeccomp {
  const profile = asObject(parseJson(bytes, what, { maxBytes }), what);
  if (profile["archMap"] !== undefined && profile["archMap"] !== null) {
    throw invalidArgument(`${what}: archMap is Docker's format, write architectures`);
  }
  const errnoRet = optional(profile["defaultErrnoRet"], `${what}.defaultErrnoRet`, asErrno);
  return {
    defaultAction: matching(profile["defaultAction"], `${what}.defaultAction`, actions),
    ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }),
    architectures: asList(profile["architectures"], `${what}.architectures`, (value, name) =>
      matching(value, name, archName),
    ),
    flags: asList(profile["flags"], `${what}.flags`, (value, name) =>
      matching(value, name, flagName),
    ),
    syscalls: asList(profile["syscalls"], `${what}.syscalls`, parseRule),
  };
}

function parseRule(value: unknown, what: string): SpecSyscallRule {
  const rule = asObject(value, what);
  for (const key of ["includes", "excludes"]) {
    const condition = optional(rule[key], `${what}.${key}`, asObject);
    if (condition !== undefined && Object.keys(condition).length > 0) {
      throw invalidArgument(`${what}.${key} is Docker's format`);
    }
  }
  const name = optional(rule["name"], `${what}.name`, asString);
  const names = [...(name ? [name] : []), ...asList(rule["names"], `${what}.names`, asSyscall)];
  if (names.length === 0) throw invalidArgument(`${what}: names no system call`);
  const args = asList(rule["args"], `${what}.args`, parseArg);
  const errnoRet = optional(rule["errnoRet"], `${what}.errnoRet`, asErrno);
  return {
    names,
    action: matching(rule["action"], `${what}.action`, actions),
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args.length === 0 ? {} : { args }),
  };
}

function parseArg(value: unknown, what: string): SpecSyscallArg {
  const arg = asObject(value, what);
  const index = asInteger(arg["index"], `${what}.index`);
  if (index < 0 || index > 5) throw invalidArgument(`${what}.index: not between 0 and 5`);
  return {
    index,
    value: asUnsigned(arg["value"] ?? 0, `${what}.value`),
    valueTwo: asUnsigned(arg["valueTwo"] ?? 0, `${what}.valueTwo`),
    op: matching(arg["op"], `${what}.op`, operators),
  };
}

function asSyscall(value: unknown, what: string): string {
  return matching(value, what, /^[a-z0-9_]{1,64}$/i);
}

function asErrno(value: unknown, what: string): number {
  const number = asUnsigned(value, what);
  if (number > 4095) throw invalidArgument(`${what}: over 4095`);
  return number;
}

/** Up to 2^53: a mask beyond cannot be carried by a JSON number of ours without changing it. */
function asUnsigned(value: unknown, what: string): number {
  const number = asInteger(value, what);
  if (number < 0) throw invalidArgument(`${what}: negative`);
  return number;
}

function matching(value: unknown, what: string, pattern: RegExp): string {
  const text = asString(value, what);
  if (!pattern.test(text)) throw invalidArgument(`${what}: ${JSON.stringify(text.slice(0, 64))}`);
  return text;
}
