import { toOciResources } from "../container/spec/resources.ts";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { SandboxId } from "../lib/id.ts";
import type { SandboxDeps } from "./deps.ts";
import type { SandboxResources } from "./sandbox.ts";

const noLinux: pb.LinuxPodSandboxConfig = {
  $typeName: "runtime.v1.LinuxPodSandboxConfig",
  cgroupParent: "",
  sysctls: {},
};

/**
 * Takes note of what a pod has been resized to. The pod's cgroup is the kubelet's, which has changed it before it calls
 * (CRI UpdatePodSandboxResources): writing there would undo what it knows better, such as limits of the pod level.
 */
export async function updateSandboxResources(
  ctx: Context,
  deps: Pick<SandboxDeps, "sandboxes" | "sandboxLocks" | "host" | "plugins">,
  id: SandboxId,
  change: SandboxResources,
): Promise<void> {
  for (const part of [change.overhead, change.resources]) {
    toOciResources(part, deps.host.cgroupVersion, deps.host); // throws for what makes no sense
  }
  using _lock = await deps.sandboxLocks.lock(id, ctx.signal);
  const sandbox = deps.sandboxes.get(id);
  if (sandbox.state !== "ready") throw failedPrecondition(`sandbox ${id} is not ready`);
  await deps.plugins.updateSandbox(ctx, sandbox, change);
  const before = sandbox.config.linux ?? noLinux;
  const linux = {
    ...before,
    overhead: change.overhead ?? before.overhead,
    resources: change.resources ?? before.resources,
  };
  const updated = { ...sandbox, config: { ...sandbox.config, linux } };
  deps.sandboxes.put(updated);
  ctx.log.info("sandbox resources updated", { sandbox: id });
  await deps.plugins.postUpdateSandbox(ctx, updated);
}
