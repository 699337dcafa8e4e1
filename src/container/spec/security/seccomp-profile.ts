import { invalidArgument } from "../../../lib/errors.ts";
import { asInteger, asList, asObject, asString, optional, parseJson } from "../../../lib/json.ts";
import type { SpecSeccomp, SpecSyscallArg, SpecSyscallRule } from "../../../oci/runtime-spec.ts";
import { applies, nativeArch, parseConditions, type SeccompTarget } from "./seccomp-conditions.ts";

const maxBytes = 1 << 20;
const actions = /^SCMP_ACT_(ALLOW|ERRNO|KILL|KILL_THREAD|KILL_PROCESS|TRAP|TRACE|LOG)$/;
const operators = /^SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/;
const archName = /^SCMP_ARCH_[A-Z0-9_]{1,24}$/;
const flagName = /^SECCOMP_FILTER_FLAG_[A-Z_]{1,32}$/;

/**
 * Reads a profile of the node's administrator: the `seccomp` object of the runtime-spec, or Docker's form of it, whose
 * conditions are decided here for the container. Notifications are refused: nobody would listen to them.
 */
export function parseSeccompProfile(
  bytes: Uint8Array,
  what: string,
  target: SeccompTarget,
): SpecSeccomp {
  const profile = asObject(parseJson(bytes, what, { maxBytes }), what);
  const errnoRet = optional(profile["defaultErrnoRet"], `${what}.defaultErrnoRet`, asErrno);
  return {
    defaultAction: matching(profile["defaultAction"], `${what}.defaultAction`, actions),
    ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }),
    architectures: [
      ...asList(profile["architectures"], `${what}.architectures`, asArch),
      ...asList(profile["archMap"], `${what}.archMap`, parseArchMap)
        .filter((entry) => entry.architecture === nativeArch[target.arch])
        .flatMap((entry) => [entry.architecture, ...entry.subArchitectures]),
    ],
    flags: asList(profile["flags"], `${what}.flags`, (value, name) =>
      matching(value, name, flagName),
    ),
    syscalls: asList(profile["syscalls"], `${what}.syscalls`, parseConditionalRule)
      .filter(({ conditions }) => applies(conditions, target))
      .map(({ rule }) => rule),
  };
}

function asArch(value: unknown, what: string): string {
  return matching(value, what, archName);
}

function parseArchMap(value: unknown, what: string) {
  const entry = asObject(value, what);
  return {
    architecture: asArch(entry["architecture"], `${what}.architecture`),
    subArchitectures: asList(entry["subArchitectures"], `${what}.subArchitectures`, asArch),
  };
}

function parseConditionalRule(value: unknown, what: string) {
  return { rule: parseRule(value, what), conditions: parseConditions(asObject(value, what), what) };
}

function parseRule(value: unknown, what: string): SpecSyscallRule {
  const rule = asObject(value, what);
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
