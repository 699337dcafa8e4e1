import { statSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { isErrno } from "../../os/errno-error.ts";

/** What a pod's containers have in common, as the kernel's links name it. */
const shared = [
  ["network", "net"],
  ["ipc", "ipc"],
  ["uts", "uts"],
] as const;

/**
 * Throws `failed-precondition` unless a container's first process is in the namespaces that its spec names by their
 * paths, or in the node's where the spec has none of that kind. A program that runs containers in a kernel of their own
 * puts another process there, which has namespaces of its own: containers of one pod would have nothing in common.
 */
export function requireSharedNamespaces(program: string, pid: number, spec: RuntimeSpec): void {
  const { namespaces } = spec.linux;
  const different = shared.filter(([type, link]) => {
    const wanted = namespaces.find((namespace) => namespace.type === type);
    if (wanted !== undefined && wanted.path === undefined) return false; // a new one
    const own = identityOf(`/proc/${pid}/ns/${link}`);
    return own !== undefined && own !== identityOf(wanted?.path ?? `/proc/self/ns/${link}`);
  });
  if (different.length === 0) return;
  const kinds = different.map(([type]) => type).join(", ");
  throw failedPrecondition(
    `${program} does not join the pod's namespaces (${kinds}), so the pod cannot have a second container; ` +
      `use the runtime's shim instead (a handler with type = "shim", for gVisor containerd-shim-runsc-v1)`,
  );
}

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (err) {
    if (isErrno(err, "ENOENT")) return undefined; // it has ended
    throw err;
  }
}
