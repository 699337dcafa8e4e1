import { readFileSync } from "node:fs";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { asList, asString, parseJson } from "../../lib/json.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { isErrno } from "../../os/errno-error.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { SandboxEnvironment } from "../environment.ts";

const maxRecordBytes = 1 << 16;

/**
 * Interfaces of the node that CDI or a plugin gives to a container belong to its pod, whose network namespace they enter
 * with it, and leave with the pod: what a container has brought there before is not looked for on the node again. Throws
 * failed-precondition where an interface cannot be moved.
 */
export function placeNetDevices(
  spec: RuntimeSpec,
  environment: Pick<SandboxEnvironment, "netns" | "netDevicesPath">,
  { name: runtime, features }: Pick<Runtime, "name" | "features">,
): RuntimeSpec {
  const { netDevices, ...linux } = spec.linux;
  if (netDevices === undefined) return spec;
  const wanted = Object.keys(netDevices);
  if (environment.netns === undefined) {
    throw failedPrecondition(`network device ${wanted}: the pod has no network of its own`);
  }
  if (!features.netDevices) {
    throw failedPrecondition(`network device ${wanted}: handler ${runtime} moves none`);
  }
  const onNode = interfaces();
  const inPod = readRecord(environment.netDevicesPath);
  for (const name of wanted) {
    if (onNode.has(name) || inPod.includes(name)) continue;
    throw failedPrecondition(`network device ${name} is not on this node`);
  }
  const coming = wanted.filter((name) => onNode.has(name));
  if (coming.length === 0) return { ...spec, linux };
  // Before it moves: afterwards nobody could tell it from one that was never there.
  const record = [...new Set([...inPod, ...coming])];
  writeFileAtomically(environment.netDevicesPath, Buffer.from(JSON.stringify(record)));
  const moves = Object.entries(netDevices).filter(([name]) => onNode.has(name));
  return { ...spec, linux: { ...linux, netDevices: Object.fromEntries(moves) } };
}

/** Those of the daemon's own network namespace. */
function interfaces(): ReadonlySet<string> {
  const lines = readFileSync("/proc/self/net/dev", "utf8").split("\n").slice(2);
  return new Set(lines.map((line) => line.split(":", 1)[0]?.trim() ?? ""));
}

function readRecord(path: string): readonly string[] {
  try {
    const record = parseJson(readFileSync(path), path, { maxBytes: maxRecordBytes });
    return asList(record, path, asString);
  } catch (err) {
    if (isErrno(err, "ENOENT")) return [];
    throw err;
  }
}
