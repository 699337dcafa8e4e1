import { invalidArgument } from "../lib/errors.ts";
import {
  asInteger,
  asList,
  asObject,
  asString,
  asUint64,
  type JsonObject,
  optional,
  parseJson,
} from "../lib/json.ts";
import type { SpecSeccomp, SpecSyscallArg, SpecSyscallRule } from "../oci/runtime-spec.ts";
import { applies, nativeArch, parseConditions, type SeccompTarget } from "./conditions.ts";

/** Of a profile's JSON text. */
export const maxProfileBytes = 1 << 20;
const actions = /^SCMP_ACT_(ALLOW|ERRNO|KILL|KILL_THREAD|KILL_PROCESS|TRAP|TRACE|LOG)$/;
const operators = /^SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/;
const archName = /^SCMP_ARCH_[A-Z0-9_]{1,24}$/;
/** Those that do not belong to a listener. */
const artifactFlag = /^SECCOMP_FILTER_FLAG_(TSYNC|LOG|SPEC_ALLOW)$/;
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
  const profile = asObject(parseJson(bytes, what, { maxBytes: maxProfileBytes }), what);
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

/** What the runtime-spec knows of a profile and its rules (config-linux.md, "Seccomp"), but for a listener's. */
const profileKeys = ["defaultAction", "defaultErrnoRet", "architectures", "flags", "syscalls"];
const ruleKeys = ["names", "action", "errnoRet", "args"];
const argKeys = ["index", "value", "valueTwo", "op"];

/**
 * Reads a profile that is the same for every container: the `seccomp` object of the runtime-spec and nothing else. What
 * a reader might overlook is refused: unknown keys, conditions of Docker's form, comparisons that never hold.
 */
export function parseRuntimeProfile(bytes: Uint8Array, what: string): SpecSeccomp {
  const profile = asObject(parseJson(bytes, what, { maxBytes: maxProfileBytes }), what);
  refuseOthers(profile, profileKeys, what);
  const errnoRet = optional(profile["defaultErrnoRet"], `${what}.defaultErrnoRet`, asErrno);
  return {
    defaultAction: matching(profile["defaultAction"], `${what}.defaultAction`, actions),
    ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }),
    architectures: asList(profile["architectures"], `${what}.architectures`, asArch),
    flags: asList(profile["flags"], `${what}.flags`, (value, name) =>
      matching(value, name, artifactFlag),
    ),
    syscalls: asList(profile["syscalls"], `${what}.syscalls`, (value, name) => {
      const rule = asObject(value, name);
      refuseOthers(rule, ruleKeys, name);
      for (const arg of asList(rule["args"], `${name}.args`, asObject)) {
        refuseOthers(arg, argKeys, `${name}.args`);
      }
      const parsed = parseRule(rule, name);
      for (const { op, value: mask, valueTwo = 0 } of parsed.args ?? []) {
        const hasMore = (BigInt(valueTwo) & ~BigInt(mask)) !== 0n;
        if (op === "SCMP_CMP_MASKED_EQ" && hasMore) {
          throw invalidArgument(`${name}.args: a masked comparison that never holds`);
        }
      }
      return parsed;
    }),
  };
}

function refuseOthers(object: JsonObject, known: readonly string[], what: string): void {
  const other = Object.keys(object).find((key) => !known.includes(key));
  if (other === undefined) return;
  throw invalidArgument(`${what}: unknown key ${JSON.stringify(other.slice(0, 64))}`);
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
    value: asUint64(arg["value"] ?? 0, `${what}.value`),
    valueTwo: asUint64(arg["valueTwo"] ?? 0, `${what}.valueTwo`),
    op: matching(arg["op"], `${what}.op`, operators),
  };
}

function asSyscall(value: unknown, what: string): string {
  return matching(value, what, /^[a-z0-9_]{1,64}$/i);
}

function asErrno(value: unknown, what: string): number {
  const number = asInteger(value, what);
  if (number < 0 || number > 4095) throw invalidArgument(`${what}: not between 0 and 4095`);
  return number;
}

function matching(value: unknown, what: string, pattern: RegExp): string {
  const text = asString(value, what);
  if (!pattern.test(text)) throw invalidArgument(`${what}: ${JSON.stringify(text.slice(0, 64))}`);
  return text;
}
