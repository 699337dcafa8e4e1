import { rmSync, writeFileSync } from "node:fs";
import type { CgroupHost } from "../../../../cgroup/host.ts";
import type { Count } from "../../../../lib/count.ts";
import { describe } from "../../../../lib/errors.ts";
import type { Log } from "../../../../lib/log.ts";
import type { RuntimeSpec } from "../../../../oci/runtime-spec.ts";
import { type Filters, instructionsOf } from "../filters.ts";
import { encodePlan } from "./encode-plan.ts";
import { type ContainerFacts, LeftToRuntime, type NodeFacts } from "./facts.ts";
import { type CreatePlan, planCreate } from "./plan-create.ts";
import { readNodeFacts } from "./read-node-facts.ts";

export interface DirectCreateOptions {
  /** The program `create`. */
  readonly createPath: string;
  /** Not closed here. */
  readonly filters: Filters;
  readonly cgroup: CgroupHost;
  readonly log: Log;
}

/** How a monitor makes a container without its runtime. The file goes when it has been read. */
export interface PreparedCreate {
  readonly program: string;
  readonly planFile: string;
}

/**
 * Makes containers without an OCI runtime, for a tenth of what that costs, and only where the result is the same as that of
 * `runc create`. Whatever does not work is left to the runtime, which also says why it does not.
 */
export class DirectCreate {
  readonly #options: DirectCreateOptions;
  readonly #node: NodeFacts | undefined;

  constructor(options: DirectCreateOptions) {
    this.#options = options;
    this.#node = readNodeFacts(options.cgroup);
  }

  /** `undefined` for a container that the runtime has to make. The file of the plan is in the bundle's directory. */
  prepare(spec: RuntimeSpec, container: ContainerFacts, count?: Count): PreparedCreate | undefined {
    const planFile = `${container.bundleDir}/create.plan`;
    try {
      if (this.#node === undefined) throw new LeftToRuntime("the cgroups of this node");
      const bytes = this.#encode(planCreate(spec, this.#node, container));
      rmSync(planFile, { force: true });
      writeFileSync(planFile, bytes, { mode: 0o600, flag: "wx" });
      return { program: this.#options.createPath, planFile };
    } catch (err) {
      const reason = err instanceof LeftToRuntime ? err.message : describe(err);
      count?.("runtime.delegated", 1, reason);
      this.#options.log.debug("container creation delegated to the runtime", {
        container: container.id,
        reason,
      });
      return undefined;
    }
  }

  #encode(plan: CreatePlan): Uint8Array {
    const { seccomp } = plan;
    const filter = seccomp && this.#options.filters.get(seccomp);
    if (seccomp !== undefined && filter === undefined) throw new LeftToRuntime("seccomp");
    const bytes = encodePlan(plan, filter && { ...filter, instructions: instructionsOf(filter) });
    if (bytes === undefined) throw new LeftToRuntime("the size of its plan");
    return bytes;
  }
}
