import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../../lib/errors.ts";
import { knownCapabilities } from "../../../oci/known-capabilities.ts";
import type { SpecCapabilities } from "../../../oci/runtime-spec.ts";

/** What a container has that asks for nothing; the same fourteen as with Docker and containerd. */
const defaultCapabilities: readonly string[] = `
  AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP
  SETUID SYS_CHROOT`
  .trim()
  .split(/\s+/)
  .map((name) => `CAP_${name}`);

const known = new Set(knownCapabilities);

/**
 * The five sets for a request, never more than `bounding`. `ALL` is applied first, dropped ALL after added ALL, then
 * single names, dropped ones last. The inheritable set is empty but for ambient capabilities, which need it (CRI
 * Capability); a process of another user than root loses what is not ambient when it starts: that is the kernel's doing.
 */
export function resolveCapabilities(
  securityContext: pb.LinuxContainerSecurityContext | undefined,
  bounding: ReadonlySet<string>,
): SpecCapabilities {
  if (securityContext?.privileged === true) return sets(knownCapabilities, [], bounding);
  const request = securityContext?.capabilities;
  const add = (request?.addCapabilities ?? []).map(parseCapability);
  const drop = (request?.dropCapabilities ?? []).map(parseCapability);
  const ambient = (request?.addAmbientCapabilities ?? []).map(parseCapability);
  const granted = new Set(add.includes("ALL") ? knownCapabilities : defaultCapabilities);
  if (drop.includes("ALL")) granted.clear();
  for (const name of [...add, ...ambient]) if (name !== "ALL") granted.add(name);
  for (const name of drop) granted.delete(name);
  const kept = ambient.includes("ALL") ? [...granted] : ambient;
  return sets(
    [...granted],
    kept.filter((name) => granted.has(name)),
    bounding,
  );
}

export const noCapabilities: SpecCapabilities = sets([], [], new Set());

function sets(
  granted: readonly string[],
  ambient: readonly string[],
  bounding: ReadonlySet<string>,
): SpecCapabilities {
  const wanted = new Set(granted);
  const all = knownCapabilities.filter((name) => wanted.has(name) && bounding.has(name));
  const inherited = all.filter((name) => ambient.includes(name));
  return {
    bounding: all,
    effective: all,
    permitted: all,
    inheritable: inherited,
    ambient: inherited,
  };
}

/** `net_admin` and `CAP_NET_ADMIN` are the same; `ALL` is itself. */
function parseCapability(text: string): string {
  const upper = text.toUpperCase();
  if (upper === "ALL" || upper === "CAP_ALL") return "ALL";
  const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (!known.has(name)) throw invalidArgument(`unknown capability ${JSON.stringify(text)}`);
  return name;
}
