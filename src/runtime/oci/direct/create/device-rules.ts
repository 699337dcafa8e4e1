import type { SpecDevice, SpecDeviceRule } from "../../../../oci/runtime-spec.ts";
import { leave } from "./facts.ts";

/** As runc writes it down: a type is the code of its letter, and -1 stands for any number. */
export interface RuncDeviceRule {
  readonly type: number;
  readonly major: number;
  readonly minor: number;
  readonly permissions: string;
  readonly allow: boolean;
}

export interface RuncDevice extends RuncDeviceRule {
  readonly path: string;
  /** Permissions only. */
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

const codeOf = (type: string): number => type.charCodeAt(0);
const all = codeOf("a");

const rule = (type: "b" | "c", major: number, minor: number, permissions: string) => ({
  type: codeOf(type),
  major,
  minor,
  permissions,
  allow: true,
});
const node = (path: string, major: number, minor: number): RuncDevice => ({
  ...rule("c", major, minor, "rwm"),
  path,
  fileMode: 0o666,
  uid: 0,
  gid: 0,
});

/** What runc allows every container, in its order; those with a path are made as well. */
const defaults: readonly (RuncDeviceRule | RuncDevice)[] = [
  rule("c", -1, -1, "m"),
  rule("b", -1, -1, "m"),
  node("/dev/null", 1, 3),
  node("/dev/random", 1, 8),
  node("/dev/full", 1, 7),
  node("/dev/tty", 5, 0),
  node("/dev/zero", 1, 5),
  node("/dev/urandom", 1, 9),
  rule("c", 136, -1, "rwm"),
  rule("c", 5, 2, "rwm"),
  rule("c", 10, 200, "rwm"),
];

export interface PlannedDevices {
  readonly nodes: readonly RuncDevice[];
  readonly rules: readonly RuncDeviceRule[];
}

export function planDevices(
  devices: readonly SpecDevice[],
  rules: readonly SpecDeviceRule[],
): PlannedDevices {
  const taken = new Set(devices.map(({ path }) => path));
  const kept = defaults.filter((device) => !("path" in device && taken.has(device.path)));
  const own = devices.map(({ path, type, major, minor, fileMode, uid, gid }): RuncDevice => {
    const isKnown = (type === "c" || type === "b") && isNumber(major, 4095) && isNumber(minor);
    if (!isKnown) leave(`device ${path}`);
    const numbers = { type: codeOf(type), major, minor, permissions: "", allow: false };
    return { ...numbers, path, fileMode: fileMode & 0o7777, uid, gid };
  });
  return {
    nodes: [...kept.filter((device) => "path" in device), ...own],
    rules: [...rules.map(runcRule), ...kept.map(ruleOf)],
  };
}

function ruleOf({ type, major, minor, permissions, allow }: RuncDeviceRule): RuncDeviceRule {
  return { type, major, minor, permissions, allow };
}

function runcRule({ allow, access, type = "a" as never, ...numbers }: SpecDeviceRule) {
  const { major = -1, minor = -1 } = numbers;
  const isKnown =
    /^[rwm]{1,3}$/.test(access) && ["a", "b", "c"].includes(type) && major >= -1 && minor >= -1;
  if (!isKnown) leave("a device rule");
  return { type: codeOf(type), major, minor, permissions: access, allow };
}

function isNumber(value: number, most = 0xf_ffff): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}

/** What runc writes into the files of a new cgroup below one that allows everything, and what they say then. */
export interface DeviceWrites {
  readonly writes: readonly { readonly file: string; readonly value: string }[];
  /** `devices.list`. */
  readonly list: string;
}

const everything = "a *:* rwm";

/** Version 1: the rules, applied one after the other, as the shortest list of exceptions. */
export function deviceWrites(rules: readonly RuncDeviceRule[]): DeviceWrites {
  let allowsAll = false;
  let exceptions = new Map<string, { readonly rule: RuncDeviceRule; readonly access: string }>();
  for (const next of rules) {
    if (next.type === all) {
      allowsAll = next.allow;
      exceptions = new Map();
      continue;
    }
    const key = `${next.type} ${next.major}:${next.minor}`;
    const access = exceptions.get(key)?.access ?? "";
    if (next.allow !== allowsAll) {
      exceptions.set(key, { rule: next, access: sorted(access + next.permissions) });
      continue;
    }
    // To take away from what others allow is what runc may refuse.
    if (exceptions.size > 0) leave("a device rule that takes back a part of another");
  }
  if (allowsAll) {
    if (exceptions.size > 0) leave("device rules that except from all devices");
    return { writes: [{ file: "devices.allow", value: everything }], list: `${everything}\n` };
  }
  const lines = [...exceptions.values()]
    .sort(({ rule: a }, { rule: b }) => a.major - b.major || a.minor - b.minor || a.type - b.type)
    .map(({ rule: { type, major, minor }, access }) => {
      const number = (value: number) => (value === -1 ? "*" : String(value));
      return `${String.fromCharCode(type)} ${number(major)}:${number(minor)} ${access}`;
    });
  return {
    writes: [
      { file: "devices.deny", value: everything },
      ...lines.map((value) => ({ file: "devices.allow", value })),
    ],
    list: lines.map((line) => `${line}\n`).join(""),
  };
}

function sorted(access: string): string {
  return ["r", "w", "m"].filter((letter) => access.includes(letter)).join("");
}
