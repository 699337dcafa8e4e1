import { dirname } from "node:path";
import { containerCgroup } from "../../cgroup/path.ts";
import type { ContainerId, SandboxId } from "../../lib/id.ts";
import type { SandboxDeps } from "../deps.ts";
import type { Sandbox } from "../sandbox.ts";

type Deps = Pick<SandboxDeps, "cgroupDriver">;

/** The cgroup of a container of this pod, or of its infra container. */
export function cgroupInPod(deps: Deps, sandbox: Sandbox, id: ContainerId | SandboxId) {
  const parent = sandbox.config.linux?.cgroupParent ?? "";
  return containerCgroup({ driver: deps.cgroupDriver, parent, id });
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
    own.map((sandbox) => [sandbox.id, dirname(cgroupInPod(deps, sandbox, sandbox.id).relative)]),
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
