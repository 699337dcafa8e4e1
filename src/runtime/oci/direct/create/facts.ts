import type { CgroupHost } from "../../../../cgroup/host.ts";
import type { SpecSeccomp } from "../../../../oci/runtime-spec.ts";

/** What a plan needs to know beside the spec; read by read-node-facts.ts. */
export interface NodeFacts {
  readonly cgroup: CgroupHost;
  /** Mount points of the hierarchies of cgroup version 1, in the order of the mount table, each mounted from its root. */
  readonly cgroupMounts: readonly string[];
  /** As in /proc/self/ns. */
  readonly namespaces: ReadonlySet<string>;
  /** Profiles as runc's state has them, for those that have been written before. */
  readonly seccompTexts: WeakMap<SpecSeccomp, string>;
  /** The kernel offers /proc/kcore. */
  readonly hasKcore: boolean;
}

/** Of one container. */
export interface ContainerFacts {
  readonly id: string;
  readonly bundleDir: string;
  /** Where runc keeps its state (`--root`). */
  readonly runcRoot: string;
  readonly pidFile: string;
  readonly consoleSocket: string | undefined;
  readonly createdAt: Date;
}

/** Why a container is left to runc. */
export class LeftToRuntime extends Error {
  override readonly name = "LeftToRuntime";
}

/** Ends the planning: there is something that is not known for sure. */
export function leave(reason: string): never {
  throw new LeftToRuntime(reason);
}

/** All keys of an object are among those that are known here, or without a value. */
export function requireOnly(object: object, known: ReadonlySet<string>, what: string): void {
  for (const [key, value] of Object.entries(object)) {
    if (!known.has(key) && value !== undefined) leave(`${what}.${key}`);
  }
}
