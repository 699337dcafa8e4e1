import { readFileSync, realpathSync, statSync } from "node:fs";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import {
  asArray,
  asList,
  asObject,
  asString,
  type JsonObject,
  optional,
} from "../../../lib/json.ts";
import type { SpecBlockIo } from "../../../oci/runtime-spec.ts";
import { deviceNumber } from "../device/resolve.ts";

/** Limits of one class: those without devices are of the whole container. */
export interface BlockIoRule {
  readonly devices: readonly string[];
  readonly weight: number | undefined;
  readonly readBps: number | undefined;
  readonly writeBps: number | undefined;
  readonly readIops: number | undefined;
  readonly writeIops: number | undefined;
}

/** By name. undefined: no file is configured. */
export type BlockIoClasses = ReadonlyMap<string, readonly BlockIoRule[]>;

const maxBytes = 1 << 20;

/** Reads the administrator's file, in the form that containerd and CRI-O take: YAML, `classes` with lists of rules. */
export function readBlockIoClasses(path: string): BlockIoClasses | undefined {
  if (path === "") return undefined;
  const text = readFileSync(path, "utf8");
  if (text.length > maxBytes) throw invalidArgument(`${path}: over ${maxBytes} characters`);
  try {
    return parseBlockIoClasses(Bun.YAML.parse(text), path);
  } catch (cause) {
    throw invalidArgument(`block I/O classes of ${path}`, cause);
  }
}

export function parseBlockIoClasses(value: unknown, what: string): BlockIoClasses {
  const file = lowerKeys(asObject(value, what), ["classes"], what);
  const classes = optional(file["classes"], "classes", asObject) ?? {};
  return new Map(
    Object.entries(classes).map(([name, rules]) => [
      name,
      asArray(rules, name, 256).map((rule, i) => parseRule(rule, `${name}[${i}]`)),
    ]),
  );
}

const ruleKeys =
  "devices weight throttlereadbps throttlewritebps throttlereadiops throttlewriteiops";

function parseRule(value: unknown, what: string): BlockIoRule {
  const rule = lowerKeys(asObject(value, what), ruleKeys.split(" "), what);
  const amount = (key: string) => optional(rule[key], `${what}.${key}`, parseAmount);
  const weight = amount("weight");
  if (weight !== undefined && (weight < 10 || weight > 1000)) {
    throw invalidArgument(`${what}.weight: not between 10 and 1000`);
  }
  const devices = asList(rule["devices"], `${what}.devices`, asString);
  const parsed = {
    devices,
    weight,
    readBps: amount("throttlereadbps"),
    writeBps: amount("throttlewritebps"),
    readIops: amount("throttlereadiops"),
    writeIops: amount("throttlewriteiops"),
  };
  const { readBps, writeBps, readIops, writeIops } = parsed;
  if (devices.length === 0 && [readBps, writeBps, readIops, writeIops].some(Boolean)) {
    throw invalidArgument(`${what}: throttling needs devices`);
  }
  return parsed;
}

/** Written `Weight` or `weight`. A key that means nothing is a mistake. */
function lowerKeys(object: JsonObject, known: readonly string[], what: string): JsonObject {
  const lower = Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key.toLowerCase(), value]),
  );
  const unknown = Object.keys(lower).find((key) => !known.includes(key));
  if (unknown !== undefined) throw invalidArgument(`${what}.${unknown}: not known`);
  return lower;
}

const units: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A number, or one with a unit as Kubernetes writes it: `60M`, `1Gi`. */
function parseAmount(value: unknown, what: string): number {
  const [, digits = "", unit = ""] = /^([0-9]{1,15})([kMGT]|[KMGT]i)?$/.exec(String(value)) ?? [];
  const amount = Number(digits) * (units[unit] ?? 0);
  if (digits === "" || !Number.isSafeInteger(amount)) throw invalidArgument(`${what}: no amount`);
  return amount;
}

/** The class as the OCI runtime takes it, its devices looked up now. */
export function blockIoOf(classes: BlockIoClasses | undefined, name: string): SpecBlockIo {
  if (classes === undefined) {
    throw failedPrecondition(
      `block I/O class ${name}: this node has none (containers.blockio_file)`,
    );
  }
  const rules = classes.get(name);
  if (rules === undefined) throw failedPrecondition(`block I/O class ${name} is not defined`);
  const weight = rules.findLast((rule) => rule.devices.length === 0)?.weight;
  const perDevice = rules.flatMap((rule) =>
    rule.devices.map((device) => ({ ...blockDevice(device), rule })),
  );
  const rates = (key: "readBps" | "writeBps" | "readIops" | "writeIops") =>
    perDevice.flatMap(({ major, minor, rule }) => {
      const rate = rule[key];
      return rate === undefined ? [] : [{ major, minor, rate }];
    });
  return {
    ...(weight === undefined ? {} : { weight }),
    weightDevice: perDevice.flatMap(({ major, minor, rule }) =>
      rule.weight === undefined ? [] : [{ major, minor, weight: rule.weight }],
    ),
    throttleReadBpsDevice: rates("readBps"),
    throttleWriteBpsDevice: rates("writeBps"),
    throttleReadIOPSDevice: rates("readIops"),
    throttleWriteIOPSDevice: rates("writeIops"),
  };
}

function blockDevice(path: string): { readonly major: number; readonly minor: number } {
  try {
    const found = statSync(realpathSync(path), { bigint: true });
    if (found.isBlockDevice()) return deviceNumber(found.rdev);
  } catch (cause) {
    throw failedPrecondition(`block device ${path}`, cause);
  }
  throw failedPrecondition(`${path} is not a block device`);
}
