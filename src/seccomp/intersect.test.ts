import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { SpecSeccomp, SpecSyscallArg } from "../oci/runtime-spec.ts";
import { intersectProfiles } from "./intersect.ts";

const native = "SCMP_ARCH_X86_64";
const max = 0xffff_ffff_ffff_ffffn;
const strictestFirst = [
  ...["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO"],
  ...["SCMP_ACT_TRACE", "SCMP_ACT_LOG", "SCMP_ACT_ALLOW"],
];
const rank = (action: string) => strictestFirst.indexOf(action);

/** What the comparison says, written down a second time and in another way. */
function holds({ op, value, valueTwo = 0 }: SpecSyscallArg, argument: bigint): boolean {
  const operand = BigInt(value);
  switch (op) {
    case "SCMP_CMP_EQ":
      return argument === operand;
    case "SCMP_CMP_NE":
      return argument !== operand;
    case "SCMP_CMP_LT":
      return argument < operand;
    case "SCMP_CMP_LE":
      return argument <= operand;
    case "SCMP_CMP_GE":
      return argument >= operand;
    case "SCMP_CMP_GT":
      return argument > operand;
    default:
      return (argument & operand) === BigInt(valueTwo);
  }
}

/** The actions of all rules that a call fulfils. */
function matching(profile: SpecSeccomp, call: string, values: readonly bigint[]): string[] {
  return profile.syscalls
    .filter(({ names, action }) => names.includes(call) && action !== profile.defaultAction)
    .filter(({ args = [] }) => {
      const isAlternatives = new Set(args.map(({ index }) => index)).size < args.length;
      const results = args.map((arg) => holds(arg, values[arg.index] ?? 0n));
      return isAlternatives ? results.some(Boolean) : results.every(Boolean);
    })
    .map(({ action }) => action);
}

function decide(profile: SpecSeccomp, call: string, values: readonly bigint[]): string {
  const actions = matching(profile, call, values);
  return actions.length === 0
    ? profile.defaultAction
    : actions.reduce((a, b) => (rank(a) < rank(b) ? a : b));
}

const interesting = [0n, 1n, 2n, 3n, 7n, 8n, 0x7e02_0000n, 0xffff_ffffn, 1n << 32n, max - 1n, max];
const anyValue = fc.oneof(fc.constantFrom(...interesting), fc.bigInt({ min: 0n, max }));
const narrow = (value: bigint) => (value <= Number.MAX_SAFE_INTEGER ? Number(value) : value);

const comparison: fc.Arbitrary<SpecSyscallArg> = fc.oneof(
  fc.record({
    index: fc.nat(2),
    value: anyValue.map(narrow),
    op: fc.constantFrom("EQ", "NE", "LT", "LE", "GE", "GT").map((name) => `SCMP_CMP_${name}`),
  }),
  fc.tuple(fc.nat(2), anyValue, anyValue).map(([index, mask, value]) => ({
    index,
    value: narrow(mask),
    valueTwo: narrow(mask & value),
    op: "SCMP_CMP_MASKED_EQ",
  })),
);

const profiles: fc.Arbitrary<SpecSeccomp> = fc.record({
  defaultAction: fc.constantFrom("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS"),
  syscalls: fc.array(
    fc.record({
      names: fc.subarray(["read", "clone", "socket"], { minLength: 1 }),
      action: fc.constantFrom(...strictestFirst),
      args: fc.array(comparison, { maxLength: 2 }),
    }),
    { maxLength: 4 },
  ),
});

const everyCall = ["read", "clone", "socket", "write"];

describe("intersectProfiles()", () => {
  test("decides about every call as the more restrictive of both profiles does", () => {
    let exact = 0;
    fc.assert(
      fc.property(
        profiles,
        profiles,
        fc.array(anyValue, { maxLength: 10 }),
        (base, other, some) => {
          const { profile, simplified } = intersectProfiles(base, other, native);
          // Those that the rules compare with, and their neighbours.
          const operands = [...base.syscalls, ...other.syscalls]
            .flatMap(({ args = [] }) => args)
            .flatMap(({ value, valueTwo = 0 }) => [BigInt(value), BigInt(valueTwo)])
            .flatMap((value) => [value, value - 1n, value + 1n].map((one) => one & max));
          const pool = [...operands, ...some, 0n];
          for (const call of everyCall) {
            for (let i = 0; i < pool.length; i++) {
              const args = [0, 1, 2].map((j) => pool[(i * (j + 1) + j) % pool.length] ?? 0n);
              const wanted = [decide(base, call, args), decide(other, call, args)];
              const strictest = Math.min(...wanted.map(rank));
              const got = rank(decide(profile, call, args));
              if (simplified.includes(call)) expect(got).toBeLessThanOrEqual(strictest);
              else {
                exact++;
                expect(strictestFirst[got]).toBe(strictestFirst[strictest] ?? "");
                // Rules that never overlap mean the same to every compiler.
                expect(matching(profile, call, args).length).toBeLessThan(2);
              }
            }
          }
        },
      ),
      { numRuns: 150 },
    );
    expect(exact).toBeGreaterThan(1000);
  }, 60_000);

  const allow = (names: readonly string[], args: readonly SpecSyscallArg[] = []): SpecSeccomp => ({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    syscalls: [{ names, action: "SCMP_ACT_ALLOW", ...(args.length > 0 ? { args } : {}) }],
  });
  const above = (value: number) => [{ index: 0, value, op: "SCMP_CMP_GT" }];
  const below = (value: number) => [{ index: 0, value, op: "SCMP_CMP_LT" }];

  test("keeps the calls that both allow in one rule", () => {
    const { profile } = intersectProfiles(
      allow(["read", "write", "mount"]),
      allow(["write", "read"]),
      native,
    );
    expect(profile.syscalls).toEqual([{ names: ["read", "write"], action: "SCMP_ACT_ALLOW" }]);
  });

  test("cuts a range out of two half-open ones, which one comparison cannot", () => {
    const { profile } = intersectProfiles(
      allow(["write"], above(2)),
      allow(["write"], below(8)),
      native,
    );
    const permitted = [0n, 2n, 3n, 4n, 7n, 8n, 9n].filter(
      (value) => decide(profile, "write", [value]) === "SCMP_ACT_ALLOW",
    );
    expect(permitted).toEqual([3n, 4n, 7n]);
  });

  test("denies a call as a whole, and says so, where the rules compare too much", () => {
    const notOne = [1, 2, 3].map((index) => ({
      index,
      value: 2 ** 40 + 12_345,
      op: "SCMP_CMP_NE",
    }));
    const many = [1, 2, 3].map((index) => ({
      index,
      value: 0xffff_ffff,
      valueTwo: 7,
      op: "SCMP_CMP_MASKED_EQ",
    }));
    const { profile, simplified } = intersectProfiles(
      allow(["ioctl"], notOne),
      {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["ioctl"], action: "SCMP_ACT_ERRNO", args: many }],
      },
      native,
    );
    expect(simplified).toEqual(["ioctl"]);
    expect(profile.syscalls).toEqual([]);
  });

  test("takes error numbers from the base and the architectures of both", () => {
    const { profile } = intersectProfiles(
      { ...allow(["read"]), architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] },
      {
        ...allow(["read"]),
        defaultErrnoRet: 38,
        architectures: ["SCMP_ARCH_X32", "SCMP_ARCH_X86"],
      },
      native,
    );
    expect(profile.defaultErrnoRet).toBe(1);
    expect(profile.architectures).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
  });

  test("drops SPEC_ALLOW that only one profile has, and keeps a LOG of either", () => {
    const { profile } = intersectProfiles(
      allow(["read"]),
      { ...allow(["read"]), flags: ["SECCOMP_FILTER_FLAG_LOG"] },
      native,
    );
    expect(profile.flags).toEqual(["SECCOMP_FILTER_FLAG_LOG"]);
  });
});
