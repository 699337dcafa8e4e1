import { invalidArgument } from "../lib/errors.ts";
import { asList, asObject, asString, type JsonObject, optional } from "../lib/json.ts";

/** As Bun names processors. */
export type Arch = "x64" | "arm64";

/** The container that conditions of a profile are decided for. */
export interface SeccompTarget {
  readonly arch: Arch;
  /** Its bounding set. */
  readonly capabilities: readonly string[];
  /** As uname(2) has it: `6.1.0-18-amd64`. */
  readonly kernel: string;
}

export const nativeArch = {
  x64: "SCMP_ARCH_X86_64",
  arm64: "SCMP_ARCH_AARCH64",
} as const satisfies Record<Arch, string>;

/** Go's names, which Docker's profiles use. */
const goArch = { x64: "amd64", arm64: "arm64" } as const satisfies Record<Arch, string>;

interface Filter {
  readonly caps: readonly string[];
  readonly arches: readonly string[];
  readonly minKernel: Version | undefined;
}

type Version = readonly [major: number, minor: number];

export interface Conditions {
  readonly includes: Filter;
  readonly excludes: Filter;
}

/** `includes` and `excludes` of a rule in Docker's form; without them a rule always applies. */
export function parseConditions(rule: JsonObject, what: string): Conditions {
  return {
    includes: parseFilter(rule["includes"], `${what}.includes`),
    excludes: parseFilter(rule["excludes"], `${what}.excludes`),
  };
}

/** All that is included must hold, and nothing that is excluded may. */
export function applies({ includes, excludes }: Conditions, target: SeccompTarget): boolean {
  const has = (name: string) => target.capabilities.includes(name);
  const arch = goArch[target.arch];
  const isFrom = (version: Version) => compare(parseVersion(target.kernel, "kernel"), version) >= 0;
  if (!includes.caps.every(has) || excludes.caps.some(has)) return false;
  if (includes.arches.length > 0 && !includes.arches.includes(arch)) return false;
  if (excludes.arches.includes(arch)) return false;
  if (includes.minKernel !== undefined && !isFrom(includes.minKernel)) return false;
  return excludes.minKernel === undefined || !isFrom(excludes.minKernel);
}

function parseFilter(value: unknown, what: string): Filter {
  const filter = optional(value, what, asObject) ?? {};
  for (const key of Object.keys(filter)) {
    if (!["caps", "arches", "minKernel"].includes(key)) throw invalidArgument(`${what}.${key}`);
  }
  return {
    caps: asList(filter["caps"], `${what}.caps`, asString),
    arches: asList(filter["arches"], `${what}.arches`, asString),
    minKernel: optional(filter["minKernel"], `${what}.minKernel`, (text, name) =>
      parseVersion(asString(text, name), name),
    ),
  };
}

function parseVersion(text: string, what: string): Version {
  const [, major, minor] = /^([0-9]{1,4})\.([0-9]{1,4})/.exec(text) ?? [];
  if (major === undefined || minor === undefined) throw invalidArgument(`${what}: not a version`);
  return [Number(major), Number(minor)];
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1];
}
