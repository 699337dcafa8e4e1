import { readFileSync } from "node:fs";
import { asArray, asObject, asString, parseJson } from "../../lib/json.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { shimFilesOf } from "./task-files.ts";

const maxConfigBytes = 16 << 20;

/**
 * All processes of a pod in gVisor are one of the node's, so a path in /proc names the pod's PID namespace and never a
 * container's own. gVisor opens none of these paths, though: containers with the same path share a namespace (runsc,
 * boot/loader.go). One that is to have a namespace of its own gets a path of its own here, which others can join.
 */
export function withNamedPidNamespace(spec: RuntimeSpec, bundleDir: string): RuntimeSpec {
  const { linux } = spec;
  const namespaces = linux.namespaces.map((namespace) =>
    namespace.type === "pid" && namespace.path === undefined
      ? { ...namespace, path: `${bundleDir}/pid-namespace` }
      : namespace,
  );
  return { ...spec, linux: { ...linux, namespaces } };
}

/** The PID namespace that a container in gVisor is in, by its bundle; `undefined` where it has none or is gone. */
export function namedPidNamespace(bundleDir: string): string | undefined {
  let text: Buffer;
  try {
    text = readFileSync(shimFilesOf(bundleDir).config);
  } catch {
    return undefined;
  }
  const spec = asObject(
    parseJson(text, "config.json", { maxBytes: maxConfigBytes }),
    "config.json",
  );
  const linux = asObject(spec["linux"], "config.json: linux");
  for (const entry of asArray(linux["namespaces"], "config.json: linux.namespaces")) {
    const { type, path } = asObject(entry, "config.json: namespace");
    if (type === "pid") return path === undefined ? undefined : asString(path, "path");
  }
  return undefined;
}
