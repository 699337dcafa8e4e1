import type { SpecSyscallArg } from "../oci/runtime-spec.ts";

/**
 * Some of the values that an argument of a system call can have, 64 bits without a sign: those of a range, both ends
 * included, or those whose bits under a mask are these.
 */
export type ValueSet =
  | { readonly kind: "range"; readonly from: bigint; readonly to: bigint }
  | { readonly kind: "bits"; readonly mask: bigint; readonly value: bigint };

const max = 0xffff_ffff_ffff_ffffn;

/** The values for which a comparison holds, as sets without a value in common. */
export function valuesOf({ op, value, valueTwo = 0 }: SpecSyscallArg): readonly ValueSet[] {
  const operand = BigInt(value);
  switch (op) {
    case "SCMP_CMP_EQ":
      return range(operand, operand);
    case "SCMP_CMP_NE":
      return [...range(0n, operand - 1n), ...range(operand + 1n, max)];
    case "SCMP_CMP_LT":
      return range(0n, operand - 1n);
    case "SCMP_CMP_LE":
      return range(0n, operand);
    case "SCMP_CMP_GE":
      return range(operand, max);
    case "SCMP_CMP_GT":
      return range(operand + 1n, max);
    case "SCMP_CMP_MASKED_EQ":
      return bits(operand, BigInt(valueTwo));
    default:
      throw new TypeError(`comparison ${op}`);
  }
}

/** The values that are in both, as sets without a value in common. */
export function intersectValues(a: ValueSet, b: ValueSet): readonly ValueSet[] {
  if (a.kind === "range" && b.kind === "range") {
    return range(sorted(a.from, b.from)[1], sorted(a.to, b.to)[0]);
  }
  if (a.kind === "bits" && b.kind === "bits") {
    const common = a.mask & b.mask;
    return (a.value & common) === (b.value & common)
      ? bits(a.mask | b.mask, a.value | b.value)
      : [];
  }
  if (a.kind === "range" && b.kind === "bits") return intersectMixed(a, b);
  return intersectValues(b, a);
}

type Range = Extract<ValueSet, { kind: "range" }>;
type Bits = Extract<ValueSet, { kind: "bits" }>;

function intersectMixed(within: Range, wanted: Bits): readonly ValueSet[] {
  if (within.from === within.to) {
    return (within.from & wanted.mask) === wanted.value ? [within] : [];
  }
  return blocksOf(within).flatMap((block) => intersectValues(block, wanted));
}

/** All other values, as sets without a value in common. */
export function complementOf(set: ValueSet): readonly ValueSet[] {
  if (set.kind === "range") return [...range(0n, set.from - 1n), ...range(set.to + 1n, max)];
  // Equal in the bits above, another in this one.
  let above = 0n;
  const others: ValueSet[] = [];
  for (let bit = 1n << 63n; bit > 0n; bit >>= 1n) {
    if ((set.mask & bit) === 0n) continue;
    const mask = above | bit;
    others.push(...bits(mask, (set.value ^ bit) & mask));
    above = mask;
  }
  return others;
}

/** Whether it is all values there are. */
export function isEverything(set: ValueSet): boolean {
  return set.kind === "range" ? set.from === 0n && set.to === max : set.mask === 0n;
}

/** Comparisons of which one holds exactly for the values of the set. */
export function comparisonsOf(set: ValueSet): readonly Omit<SpecSyscallArg, "index">[] {
  if (set.kind === "bits") return [masked(set)];
  const { from, to } = set;
  if (from === to) return [{ value: narrow(from), op: "SCMP_CMP_EQ" }];
  if (from === 0n) return [{ value: narrow(to), op: "SCMP_CMP_LE" }];
  if (to === max) return [{ value: narrow(from), op: "SCMP_CMP_GE" }];
  return blocksOf(set).map(masked);
}

/** The range in pieces as large as a mask can tell from all others: at most 126. */
function blocksOf({ from, to }: Range): readonly Bits[] {
  const blocks: Bits[] = [];
  for (let at = from; at <= to; ) {
    let size = 1n;
    while ((at & (2n * size - 1n)) === 0n && at + 2n * size - 1n <= to) size *= 2n;
    blocks.push({ kind: "bits", mask: max ^ (size - 1n), value: at });
    at += size;
  }
  return blocks;
}

function masked({ mask, value }: Bits): Omit<SpecSyscallArg, "index"> {
  return { value: narrow(mask), valueTwo: narrow(value), op: "SCMP_CMP_MASKED_EQ" };
}

function range(from: bigint, to: bigint): readonly ValueSet[] {
  return from <= to && from <= max && to >= 0n ? [{ kind: "range", from, to }] : [];
}

/** None for a value with a bit that the mask has not: no argument has it then. */
function bits(mask: bigint, value: bigint): readonly ValueSet[] {
  return (value & ~mask) === 0n ? [{ kind: "bits", mask, value }] : [];
}

/** Math.min and Math.max take no bigints. */
function sorted(a: bigint, b: bigint): readonly [smaller: bigint, larger: bigint] {
  return a < b ? [a, b] : [b, a];
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
