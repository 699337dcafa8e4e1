import type { SandboxEnvironment } from "../../container/environment.ts";
import type { SandboxId } from "../../lib/id.ts";
import { namespacePath } from "../../network/namespace/netns.ts";
import type { SandboxDeps } from "../deps.ts";
import type { Sandbox } from "../sandbox.ts";
import { hostnameOf, podFiles, sandboxDirectoryOf } from "./directory.ts";
import { podNamespaces } from "./namespaces.ts";

/** What finding out about a sandbox needs. */
export type EnvironmentDeps = Pick<SandboxDeps, "stateDir" | "sandboxes" | "stopping">;

/** What a container finds in its sandbox. */
export function environmentOf(
  deps: EnvironmentDeps,
  sandbox: Sandbox,
  pidns: Partial<Pick<SandboxEnvironment, "podPidns" | "targetPidns">> = {},
): SandboxEnvironment {
  const paths = sandboxDirectoryOf(deps.stateDir, sandbox.id);
  const files = podFiles(paths);
  const own = podNamespaces(sandbox.config);
  return {
    sandboxId: sandbox.id,
    isReady: () => isReady(deps, sandbox.id),
    config: sandbox.config,
    handler: sandbox.handler,
    podPidns: pidns.podPidns,
    targetPidns: pidns.targetPidns,
    netns: own.net ? paths.netns : undefined,
    ipcns: own.ipc ? namespacePath(paths.namespaces, "ipc") : undefined,
    utsns: own.uts ? namespacePath(paths.namespaces, "uts") : undefined,
    userNamespace: own.ids && { path: namespacePath(paths.namespaces, "user"), ids: own.ids },
    hostname: hostnameOf(sandbox.config),
    hostnamePath: files.hostname,
    hostsPath: files.hosts,
    resolvConfPath: files.resolvConf,
    netDevicesPath: paths.netDevices,
    shmPath: own.ipc ? paths.shm : undefined,
  };
}

/** Whether something can be created in it. */
export function isReady(deps: Pick<SandboxDeps, "sandboxes" | "stopping">, id: SandboxId): boolean {
  return deps.sandboxes.find(id)?.state === "ready" && !deps.stopping.has(id);
}
