import { readdirSync } from "node:fs";
import { describe, failedPrecondition, invalidArgument } from "../lib/errors.ts";
import { ifThere } from "../os/errno-error.ts";
import { type DeviceName, parseDeviceName } from "./device-name.ts";
import { type ContainerEdits, mergeEdits } from "./edits.ts";
import { type CdiSpec, readSpecFile } from "./spec-file.ts";

const maxDevices = 256;
const maxFiles = 512;

/**
 * What the named devices change in a container. The files are read now, so that a device that was plugged in a moment
 * ago is found. Of two directories the later one wins; a device that two files of one directory define is nobody's.
 */
export function resolveCdiDevices(
  names: readonly string[],
  dirs: readonly string[],
): ContainerEdits {
  if (names.length === 0) return mergeEdits([]);
  if (names.length > maxDevices) throw invalidArgument(`more than ${maxDevices} CDI devices`);
  const wanted = [...new Set(names)].map(parseDeviceName);
  const faults: string[] = [];
  const levels = dirs.map((dir) => readSpecs(dir, faults)).reverse();
  const specs = new Set<CdiSpec>();
  const edits = wanted.map((device) => {
    const spec = findSpec(device, levels, faults);
    specs.add(spec);
    const found = spec.devices.get(device.name);
    if (found === undefined) throw new TypeError("the spec has the device");
    return found;
  });
  return mergeEdits([...[...specs].map(({ common }) => common), ...edits]);
}

/** `levels`: the specs of each directory, the one that wins first. */
function findSpec(
  { kind, name }: DeviceName,
  levels: readonly (readonly CdiSpec[])[],
  faults: readonly string[],
): CdiSpec {
  for (const level of levels) {
    const [spec, ...others] = level.filter((one) => one.kind === kind && one.devices.has(name));
    if (others.length > 0) {
      throw failedPrecondition(`CDI device ${kind}=${name}: more than one file defines it`);
    }
    if (spec !== undefined) return spec;
  }
  const hint = faults.length === 0 ? "" : ` (unreadable: ${faults.slice(0, 3).join("; ")})`;
  throw failedPrecondition(`CDI device ${kind}=${name}: no file defines it${hint}`);
}

/** A file that is wrong costs only its own devices. */
function readSpecs(dir: string, faults: string[]): readonly CdiSpec[] {
  const specs: CdiSpec[] = [];
  for (const name of listSpecFiles(dir)) {
    try {
      specs.push(readSpecFile(`${dir}/${name}`));
    } catch (err) {
      faults.push(describe(err));
    }
  }
  return specs;
}

function listSpecFiles(dir: string): readonly string[] {
  return (
    ifThere(
      () =>
        readdirSync(dir)
          .filter((name) => /\.(json|ya?ml)$/.test(name))
          .sort()
          .slice(0, maxFiles),
      ["ENOTDIR"],
    ) ?? []
  );
}
