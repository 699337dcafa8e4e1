import { dirname } from "node:path";
import { containerCgroup } from "../../cgroup/path.ts";
import type { ContainerId, SandboxId } from "../../lib/id.ts";
import type { SandboxDeps } from "../deps.ts";
import type { Sandbox } from "../sandbox.ts";

type Deps = Pick<SandboxDeps, "cgroupDriver">;

/**
 * The cgroup of a container of this pod, or of its infra container. Throws for a parent that is none, which
 * `validateSandbox` finds out before the sandbox is made; for what is made already, see `infraCgroup`.
 */
export function cgroupInPod(deps: Deps, sandbox: Sandbox, id: ContainerId | SandboxId) {
  const parent = sandbox.config.linux?.cgroupParent ?? "";
  return containerCgroup({ driver: deps.cgroupDriver, parent, id });
}

/**
 * The same path for a sandbox that is recorded, below the root of the hierarchies; `undefined` where its parent would not
 * be taken today, because the cgroup driver is another one or the rules were others.
 */
function recordedCgroup(
  deps: Deps,
  sandbox: Sandbox,
  id: ContainerId | SandboxId,
): string | undefined {
  try {
    return cgroupInPod(deps, sandbox, id).relative;
  } catch {
    return undefined;
  }
}

/** Where its infra container is, if it has one. */
export function infraCgroup(deps: Deps, sandbox: Sandbox): string | undefined {
  const { infra } = sandbox;
  return infra && (infra.cgroupPath ?? recordedCgroup(deps, sandbox, infra.id));
}

/**
 * The cgroup of the whole pod, by sandbox: a kubelet makes one for each pod and names it as the parent. A parent that
 * other pods have too is none of theirs, and neither is the one that crib puts pods into whose client named none.
 */
export function podCgroups(
  deps: Deps,
  sandboxes: readonly Sandbox[],
): ReadonlyMap<SandboxId, string> {
  const pods = new Map<string, Set<string>>();
  for (const sandbox of sandboxes) {
    const parent = parentOf(sandbox);
    pods.set(parent, (pods.get(parent) ?? new Set()).add(podOf(sandbox)));
  }
  const own = sandboxes.filter(
    (sandbox) => parentOf(sandbox) !== "" && pods.get(parentOf(sandbox))?.size === 1,
  );
  return new Map(
    own.flatMap((sandbox) => {
      const inside = recordedCgroup(deps, sandbox, sandbox.id);
      return inside === undefined ? [] : [[sandbox.id, dirname(inside)] as const];
    }),
  );
}

function parentOf({ config }: Sandbox): string {
  return config.linux?.cgroupParent ?? "";
}

/** A pod has a new sandbox, in the same cgroup, after a reboot or when its network has changed. */
function podOf({ config }: Sandbox): string {
  const { namespace = "", name = "", uid = "" } = config.metadata ?? {};
  return JSON.stringify([namespace, name, uid]);
}
