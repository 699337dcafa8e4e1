import { isIP } from "node:net";

/** An address as a number, to count with. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** `undefined` for what is no address, and for IPv4 written as IPv6, which others take for either. */
export function readIpAddress(text: string): IpAddress | undefined {
  if (text.includes("%")) return undefined;
  const family = isIP(text);
  if (family === 4) return { family, value: number(text.split(".").map(Number), 8n) };
  if (family !== 6 || text.includes(".")) return undefined;
  const [before = "", after] = text.split("::");
  const [left, right] = [groups(before), groups(after ?? "")];
  const zeros = after === undefined ? 0 : 8 - left.length - right.length;
  const value = number([...left, ...Array<number>(zeros).fill(0), ...right], 16n);
  return value >> 32n === 0xffffn ? undefined : { family, value };
}

function groups(text: string): readonly number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

function number(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((sum, part) => (sum << bits) | BigInt(part), 0n);
}

/** As Go writes it, and RFC 5952. */
export function formatIpAddress({ family, value }: IpAddress): string {
  if (family === 4) return [...ipBytes({ family, value })].join(".");
  const all = Array.from({ length: 8 }, (_, i) => (value >> BigInt(112 - 16 * i)) & 0xffffn);
  const hex = all.map((group) => group.toString(16)).join(":");
  // The longest run of two zeros or more, the first of several.
  const runs = [...hex.matchAll(/\b0(?::0)+\b/g)].sort((a, b) => b[0].length - a[0].length);
  const [run] = runs;
  if (run === undefined) return hex;
  const [head, tail] = [hex.slice(0, run.index), hex.slice(run.index + run[0].length)];
  return `${head.replace(/:$/, "")}::${tail.replace(/^:/, "")}`;
}

export function ipBytes({ family, value }: IpAddress): Uint8Array {
  const size = family === 4 ? 4 : 16;
  return Uint8Array.from({ length: size }, (_, i) =>
    Number((value >> BigInt(8 * (size - 1 - i))) & 0xffn),
  );
}

/** The bits that addresses of a range differ in. */
export function hostMask(family: 4 | 6, prefix: number): bigint {
  return (1n << BigInt((family === 4 ? 32 : 128) - prefix)) - 1n;
}
