import { getRuntime } from "../container/runtimes.ts";
import { resolveClasses } from "../container/spec/class/resolve.ts";
import { toOciResources } from "../container/spec/resources.ts";
import { checkSandboxProfiles } from "../container/spec/security/seccomp.ts";
import { parseSysctls } from "../network/namespace/sysctl.ts";
import type { SandboxDeps } from "./deps.ts";
import { attachmentOf } from "./environment/attachment.ts";
import { podFileContents } from "./environment/directory.ts";
import { pinnedKinds, podNamespaces } from "./environment/namespaces.ts";
import { cgroupInPod } from "./environment/pod-cgroup.ts";
import { userNamespaceOf } from "./environment/user-namespace.ts";
import type { Sandbox } from "./sandbox.ts";

export type ValidateSandboxDeps = Pick<
  SandboxDeps,
  "runtimes" | "profiles" | "userNamespaces" | "cgroupDriver" | "host" | "network" | "stateDir"
>;

/**
 * The one judgement of what a pod asks for, by the rules of the mechanisms that will do it, before anything is made or
 * recorded: what passes here is good for a plain container, and nothing that is done later to a recorded sandbox asks
 * again. Throws `invalid-argument` for what makes no sense, and `not-found` or `failed-precondition` for what this node
 * does not have.
 */
export async function validateSandbox(deps: ValidateSandboxDeps, sandbox: Sandbox): Promise<void> {
  const { config } = sandbox;
  getRuntime(deps.runtimes, sandbox.handler);
  const namespaces = podNamespaces(config);
  userNamespaceOf(deps, sandbox);
  parseSysctls(config.linux?.sysctls ?? {}, pinnedKinds(namespaces));
  podFileContents(config);
  cgroupInPod(deps, sandbox, sandbox.id);
  for (const resources of [config.linux?.overhead, config.linux?.resources]) {
    toOciResources(resources, deps.host.cgroupVersion, deps.host);
  }
  await checkSandboxProfiles(config.linux?.securityContext, deps.profiles);
  resolveClasses({ annotations: {} }, config, deps.host);
  if (namespaces.net) deps.network.validate(attachmentOf(deps.stateDir, sandbox, true));
}
