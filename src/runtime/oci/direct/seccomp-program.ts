import type { SpecSeccomp, SpecSyscallArg, SpecSyscallRule } from "../../../oci/runtime-spec.ts";
import { instructionBytes, maxInstructions } from "../../../os/security/bpf.ts";
import type {
  Libseccomp,
  SeccompComparison,
  SeccompRules,
} from "../../../os/security/libseccomp.ts";
import { type LastCall, unknownCalls } from "./unknown-calls.ts";

/** What seccomp(2) installs. */
export interface SeccompProgram {
  /** An array of struct sock_filter. */
  readonly instructions: Buffer;
  readonly flags: number;
}

/** libseccomp's names of architectures, and the kernel's. */
const architectures: Readonly<Record<string, { readonly scmp: number; readonly audit: number }>> = {
  SCMP_ARCH_X86_64: { scmp: 0xc000_003e, audit: 0xc000_003e },
  SCMP_ARCH_X32: { scmp: 0x4000_003e, audit: 0xc000_003e },
  SCMP_ARCH_X86: { scmp: 0x4000_0003, audit: 0x4000_0003 },
  SCMP_ARCH_AARCH64: { scmp: 0xc000_00b7, audit: 0xc000_00b7 },
  SCMP_ARCH_ARM: { scmp: 0x4000_0028, audit: 0x4000_0028 },
};
const native = process.arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
const x32 = "SCMP_ARCH_X32";

const EPERM = 1;
const withErrno = { SCMP_ACT_ERRNO: 0x0005_0000, SCMP_ACT_TRACE: 0x7ff0_0000 } as const;
const withoutErrno = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
} as const;
const permissive = new Set(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"]);

const operators: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

const SPEC_ALLOW = 4;
/** A process that is about to have one thread needs no TSYNC. */
const flagValues: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: SPEC_ALLOW,
};
/** From so many rules on runc asks for a tree. */
const maxListedRules = 32;

const knownKeys = new Set([
  "defaultAction",
  "defaultErrnoRet",
  "architectures",
  "flags",
  "syscalls",
]);

/** The same filter as runc makes of a profile; `undefined` for one with something in it that is not known here. */
export function compileSeccomp(
  library: Libseccomp,
  profile: SpecSeccomp,
): SeccompProgram | undefined {
  const flags = (profile.flags ?? ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]).map((it) => flagValues[it]);
  const names = profile.architectures ?? [];
  const defaultAction = actionOf(profile.defaultAction, profile.defaultErrnoRet);
  const isKnown =
    Object.keys(profile).every((key) => knownKeys.has(key)) &&
    flags.every((flag) => flag !== undefined) &&
    names.every((name) => architectures[name] !== undefined) &&
    profile.syscalls.every(isKnownRule);
  if (!isKnown || defaultAction === undefined) return undefined;

  using rules = library.rules(defaultAction);
  for (const name of names) rules.addArchitecture(archOf(name).scmp);
  if (profile.syscalls.flatMap((rule) => rule.names).length > maxListedRules) rules.makeTree();
  for (const rule of profile.syscalls) addRule(library, rules, rule, defaultAction);
  const filter = rules.compile();
  const front = permissive.has(profile.defaultAction)
    ? Buffer.alloc(0)
    : unknownCalls(lastCalls(library, [...new Set([...names, native])], profile.syscalls));
  const instructions = Buffer.concat([front, filter]);
  if (instructions.byteLength > maxInstructions * instructionBytes) return undefined;
  return { instructions, flags: flags.reduce<number>((all, flag) => all | (flag ?? 0), 0) };
}

function isKnownRule(rule: SpecSyscallRule): boolean {
  return (
    actionOf(rule.action, rule.errnoRet) !== undefined &&
    (rule.args ?? []).every(({ index, op }) => index <= 5 && operators[op] !== undefined)
  );
}

function actionOf(name: string, errno = EPERM): number | undefined {
  if (name in withErrno) return withErrno[name as keyof typeof withErrno] | (errno & 0xffff);
  return withoutErrno[name as keyof typeof withoutErrno];
}

/** Calls that the library does not know are left out, and so is what happens anyway. */
function addRule(
  library: Libseccomp,
  rules: SeccompRules,
  { names, action, errnoRet, args = [] }: SpecSyscallRule,
  defaultAction: number,
): void {
  const code = actionOf(action, errnoRet);
  if (code === undefined || code === defaultAction) return;
  const comparisons = args.map(toComparison);
  // Comparisons of the same argument are alternatives, since the library takes one of each.
  const isAlternatives = new Set(args.map(({ index }) => index)).size < args.length;
  for (const name of names) {
    const call = library.callNumber(archOf(native).scmp, name);
    if (call === undefined) continue;
    if (isAlternatives) for (const comparison of comparisons) rules.add(code, call, [comparison]);
    else rules.add(code, call, comparisons);
  }
}

function toComparison({ index, value, valueTwo = 0, op }: SpecSyscallArg): SeccompComparison {
  return { index, op: operators[op] ?? 0, value: BigInt(value), valueTwo: BigInt(valueTwo) };
}

function archOf(name: string) {
  const arch = architectures[name];
  if (arch === undefined) throw new TypeError(`architecture ${name}`);
  return arch;
}

function lastCalls(
  library: Libseccomp,
  names: readonly string[],
  rules: readonly SpecSyscallRule[],
): readonly LastCall[] {
  const calls = rules.flatMap((rule) => rule.names);
  const last = (name: string) => {
    const { scmp } = archOf(name);
    const numbers = calls.map((call) => library.callNumber(scmp, call) ?? 0);
    return numbers.reduce((most, number) => Math.max(most, number), 0) || undefined;
  };
  const ofX32 = names.includes(x32) ? last(x32) : undefined;
  return names
    .filter((name) => name !== x32)
    .flatMap((name) => {
      const number = last(name);
      if (number === undefined) return [];
      const { audit } = archOf(name);
      return [{ auditArch: audit, number, x32: name === native ? ofX32 : undefined }];
    });
}
