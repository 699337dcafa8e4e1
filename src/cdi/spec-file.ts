import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { asObject, asString, optional, parseJson } from "../lib/json.ts";
import { parseKind, parseShortName } from "./device-name.ts";
import { type ContainerEdits, noEdits } from "./edits.ts";
import { list, onlyKeys, parseEdits } from "./parse-edits.ts";

/** One file of a vendor: devices of a kind, and what all of them need (CDI specification 0.3 to 1.1). */
export interface CdiSpec {
  readonly kind: string;
  readonly devices: ReadonlyMap<string, ContainerEdits>;
  /** For a container with any of the devices, once. */
  readonly common: ContainerEdits;
}

const maxBytes = 4 << 20;
const versions = /^(0\.[3-8]\.0|1\.[01]\.0)$/;

/** A regular file of at most 4 MiB, JSON or YAML by its name. A link, a pipe or a device is refused. */
export function readSpecFile(path: string): CdiSpec {
  const bytes = readRegularFile(path);
  return parseSpec(
    path.endsWith(".json") ? parseJson(bytes, path, { maxBytes }) : parseYaml(bytes, path),
    path,
  );
}

export function parseSpec(value: unknown, what: string): CdiSpec {
  const spec = asObject(value, what);
  onlyKeys(spec, ["cdiVersion", "kind", "annotations", "devices", "containerEdits"], what);
  const version = asString(spec["cdiVersion"], `${what}: cdiVersion`);
  if (!versions.test(version)) {
    throw invalidArgument(`${what}: cdiVersion ${JSON.stringify(version.slice(0, 20))}`);
  }
  const devices = new Map<string, ContainerEdits>();
  for (const { name, edits } of list(spec["devices"], `${what}: devices`, parseDevice)) {
    if (devices.has(name)) throw invalidArgument(`${what}: device ${name} is there twice`);
    devices.set(name, edits);
  }
  return {
    kind: parseKind(asString(spec["kind"], `${what}: kind`), `${what}: kind`),
    devices,
    common: optional(spec["containerEdits"], `${what}: containerEdits`, parseEdits) ?? noEdits,
  };
}

function parseDevice(value: unknown, what: string) {
  const device = asObject(value, what);
  onlyKeys(device, ["name", "annotations", "containerEdits"], what);
  return {
    name: parseShortName(asString(device["name"], `${what}.name`), `${what}.name`),
    edits: parseEdits(device["containerEdits"], `${what}.containerEdits`),
  };
}

function readRegularFile(path: string): Buffer {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw invalidArgument(`${path}: not a regular file`);
    if (status.size > maxBytes) {
      throw new AppError(`${path}: over ${maxBytes} bytes`, { kind: "resource-exhausted" });
    }
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** As YAML 1.1, which the specification's own library reads: a number that begins with 0 is octal (`fileMode: 0660`). */
function parseYaml(bytes: Buffer, what: string): unknown {
  const text = bytes
    .toString("utf8")
    .replaceAll(/(:[ \t]+)0([0-7]+)(?=[ \t]*(?:#|,|\}|\r?$))/gm, "$10o$2");
  try {
    return Bun.YAML.parse(text);
  } catch (cause) {
    throw invalidArgument(`${what}: not valid YAML`, cause);
  }
}
