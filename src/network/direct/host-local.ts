import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";
import { lockWithin } from "../../os/file/flock.ts";
import { formatIpAddress, hostMask, type IpAddress, readIpAddress } from "./ip-address.ts";

/*
 * The addresses of the plugin host-local, in its files and under its lock: a file for each address that is taken, called
 * like it, with the id of the sandbox and the interface, and one for each range set with the last address given out.
 */

/** A range of addresses to give out; both ends are in it. */
export interface AddressRange {
  readonly family: 4 | 6;
  readonly prefix: number;
  readonly first: bigint;
  readonly last: bigint;
  readonly gateway: bigint;
}

/** One address is given from each set. */
export type RangeSet = readonly AddressRange[];

export interface HostLocal {
  /** Made if absent. */
  readonly dir: string;
  readonly sets: readonly RangeSet[];
}

export interface GivenAddress {
  readonly address: IpAddress;
  readonly prefix: number;
  readonly gateway: IpAddress;
}

const defaultDataDir = "/var/lib/cni/networks";
const patienceMs = 10_000;
const keys = new Set([
  "type",
  "dataDir",
  "routes",
  "ranges",
  "subnet",
  "rangeStart",
  "rangeEnd",
  "gateway",
]);
const rangeKeys = new Set(["subnet", "rangeStart", "rangeEnd", "gateway"]);

/** Reads the plugin's configuration; `undefined` where anything in it is unknown or the plugin might refuse it. */
export function planHostLocal(
  ipam: Readonly<Record<string, unknown>>,
  network: string,
): HostLocal | undefined {
  if (Object.keys(ipam).some((key) => !keys.has(key))) return undefined;
  const { dataDir = defaultDataDir, ranges = [] } = ipam;
  if (typeof dataDir !== "string" || !dataDir.startsWith("/") || !Array.isArray(ranges)) {
    return undefined;
  }
  const single = ipam["subnet"] === undefined ? [] : [[pick(ipam)]];
  const sets = [...single, ...ranges].map(readSet);
  const known = sets.filter((set) => set !== undefined);
  if (known.length === 0 || known.length !== sets.length || overlap(known.flat())) return undefined;
  return { dir: `${dataDir.replace(/\/+$/, "")}/${network}`, sets: known };
}

function pick(ipam: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(ipam).filter(([key]) => rangeKeys.has(key)));
}

function readSet(value: unknown): RangeSet | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const ranges = value.map(readRange);
  const known = ranges.filter((range) => range !== undefined);
  const oneFamily = new Set(known.map(({ family }) => family)).size === 1;
  return known.length === ranges.length && oneFamily ? known : undefined;
}

function readRange(value: unknown): AddressRange | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const range = value as Readonly<Record<string, unknown>>;
  if (Object.keys(range).some((key) => !rangeKeys.has(key))) return undefined;
  const subnet = readSubnet(range["subnet"]);
  if (subnet === undefined) return undefined;
  const { family, prefix, value: base } = subnet;
  const mask = hostMask(family, prefix);
  const within = (key: string, fallback: bigint): bigint | undefined => {
    const text = range[key];
    if (text === undefined) return fallback;
    const address = typeof text === "string" ? readIpAddress(text) : undefined;
    const isInside = address?.family === family && (address.value & ~mask) === base;
    return isInside ? address.value : undefined;
  };
  const first = within("rangeStart", base + 1n);
  // The last one of IPv4 is the broadcast address.
  const last = within("rangeEnd", base + mask - (family === 4 ? 1n : 0n));
  const gateway = within("gateway", base + 1n);
  if (first === undefined || last === undefined || gateway === undefined || first > last) {
    return undefined;
  }
  return { family, prefix, first, last, gateway };
}

/** A network address with room for addresses; else the plugin refuses it. */
function readSubnet(text: unknown): (IpAddress & { readonly prefix: number }) | undefined {
  const [, base = "", digits = ""] =
    typeof text === "string" ? (/^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(text) ?? []) : [];
  const address = readIpAddress(base);
  if (address === undefined) return undefined;
  const prefix = Number(digits);
  if (prefix > (address.family === 4 ? 30 : 126)) return undefined;
  const hasHostBits = (address.value & hostMask(address.family, prefix)) !== 0n;
  return hasHostBits ? undefined : { ...address, prefix };
}

function overlap(ranges: readonly AddressRange[]): boolean {
  return ranges.some((a, i) =>
    ranges
      .slice(i + 1)
      .some((b) => a.family === b.family && a.first <= b.last && b.first <= a.last),
  );
}

/** Takes an address of each set. All or nothing. Throws `resource-exhausted` when a set has none left. */
export async function takeAddresses(
  ctx: Context,
  { dir, sets }: HostLocal,
  owner: string,
): Promise<readonly GivenAddress[]> {
  return await locked(ctx, dir, () => {
    const given: GivenAddress[] = [];
    try {
      for (const [i, set] of sets.entries()) given.push(takeFrom(dir, set, i, owner));
    } catch (err) {
      for (const { address } of given) giveBackOne(dir, formatIpAddress(address), owner);
      throw err;
    }
    return given;
  });
}

/**
 * Gives back what the owner has: the named addresses and, where one of them is not its own any more, whatever else it
 * has. Idempotent.
 */
export async function giveAddressesBack(
  ctx: Context,
  dir: string,
  owner: string,
  addresses: readonly string[],
): Promise<void> {
  await locked(ctx, dir, () => {
    const gone = addresses.filter((address) => giveBackOne(dir, address, owner));
    if (gone.length === addresses.length && gone.length > 0) return;
    for (const name of readdirSync(dir)) {
      if (/^[0-9a-f]*[.:]/i.test(name)) giveBackOne(dir, name, owner);
    }
  });
}

/** The content of an address's file. */
export function ownerOf(sandboxId: string, interfaceName: string): string {
  return `${sandboxId}\r\n${interfaceName}`;
}

/** Without a break in between, so that the daemon never waits for itself. */
async function locked<T>(ctx: Context, dir: string, act: () => T): Promise<T> {
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const fd = openSync(`${dir}/lock`, constants.O_RDONLY | constants.O_CREAT, 0o600);
  try {
    await lockWithin(ctx, fd, patienceMs);
    return act();
  } finally {
    closeSync(fd);
  }
}

function takeFrom(dir: string, set: RangeSet, index: number, owner: string): GivenAddress {
  const lastFile = `${dir}/last_reserved_ip.${index}`;
  for (const given of candidates(set, readIpAddress(readIfThere(lastFile) ?? ""))) {
    const name = formatIpAddress(given.address);
    if (!reserve(`${dir}/${name}`, owner)) continue;
    writeFileSync(lastFile, name, { mode: 0o600 });
    return given;
  }
  throw new AppError(`network ${dir.split("/").at(-1)}: no address left`, {
    kind: "resource-exhausted",
  });
}

/** All of a set but the gateways, beginning after the one that was given last. */
function* candidates(set: RangeSet, last: IpAddress | undefined): Generator<GivenAddress> {
  const at = set.findIndex(
    ({ family, first, last: end }) =>
      family === last?.family && first <= last.value && last.value <= end,
  );
  const begin = Math.max(at, 0);
  // The range that it begins in comes once more at the end, for what is before the beginning.
  for (let i = 0; i <= set.length; i++) {
    const range = set[(begin + i) % set.length];
    if (range === undefined) return;
    const { family, prefix, gateway } = range;
    const from = i === 0 && at >= 0 && last !== undefined ? last.value + 1n : range.first;
    const isLeftOver = i === set.length;
    if (isLeftOver && at < 0) return;
    const to = isLeftOver && last !== undefined ? last.value : range.last;
    for (let value = from; value <= to; value++) {
      if (value === gateway) continue;
      yield { address: { family, value }, prefix, gateway: { family, value: gateway } };
    }
  }
}

function reserve(path: string, owner: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, "wx", 0o600);
  } catch (err) {
    if (isErrno(err, "EEXIST")) return false;
    throw err;
  }
  try {
    writeSync(fd, owner);
  } catch (err) {
    unlinkSync(path);
    throw err;
  } finally {
    closeSync(fd);
  }
  return true;
}

/** Whether it was the owner's. An old plugin wrote the sandbox alone. */
function giveBackOne(dir: string, name: string, owner: string): boolean {
  const found = readIfThere(`${dir}/${name}`)?.trim();
  if (found === undefined || (found !== owner && found !== owner.split("\r\n")[0])) return false;
  unlinkSync(`${dir}/${name}`);
  return true;
}

function readIfThere(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "latin1"), ["EISDIR"]);
}
