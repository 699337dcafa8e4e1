import {
  type CreateContainerDeps,
  createContainer,
  recreateContainer,
} from "../container/create.ts";
import { NamespaceMode } from "../container/cri.ts";
import type { SandboxEnvironment } from "../container/environment.ts";
import type { ContainerExtras } from "../container/extras.ts";
import { type TaskDeps, taskOf } from "../container/runtimes.ts";
import { pidModeOf } from "../container/spec/namespaces.ts";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import { type Context, withFields } from "../lib/context.ts";
import { failedPrecondition, notFound } from "../lib/errors.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { SandboxDeps } from "./deps.ts";
import { type EnvironmentDeps, environmentOf, isReady } from "./environment/environment.ts";
import { ensureInfra, type InfraDeps } from "./environment/infra.ts";
import type { Sandbox } from "./sandbox.ts";

export type AddContainerDeps = CreateContainerDeps & InfraDeps & EnvironmentDeps;

/** Creates a container in a ready sandbox (CRI CreateContainer). Its process waits for StartContainer. */
export async function addContainer(
  ctx: Context,
  deps: AddContainerDeps,
  sandboxId: SandboxId,
  config: pb.ContainerConfig,
  extras?: ContainerExtras,
): Promise<ContainerId> {
  const subject = withFields(ctx, { sandbox: sandboxId });
  const environment = await environmentFor(subject, deps, sandboxId, config);
  return await createContainer(subject, deps, environment, config, extras);
}

/** Makes a container of a ready sandbox anew that has ended: `recreateContainer`. */
export async function recreateInSandbox(
  ctx: Context,
  deps: AddContainerDeps,
  id: ContainerId,
): Promise<void> {
  const { sandboxId, config } = deps.containers.get(id);
  const subject = withFields(ctx, { sandbox: sandboxId });
  const environment = await environmentFor(subject, deps, sandboxId, config);
  await recreateContainer(subject, deps, environment, id);
}

async function environmentFor(
  ctx: Context,
  deps: AddContainerDeps,
  sandboxId: SandboxId,
  config: pb.ContainerConfig,
): Promise<SandboxEnvironment> {
  const sandbox = requireReady(deps, sandboxId);
  const pid = pidModeOf(config.linux?.securityContext, sandbox.config);
  return environmentOf(deps, sandbox, {
    podPidns: pid === NamespaceMode.pod ? await podPidns(ctx, deps, sandboxId) : undefined,
    targetPidns: pid === NamespaceMode.target ? targetPidns(deps, sandboxId, config) : undefined,
  });
}

function requireReady(deps: EnvironmentDeps, id: SandboxId): Sandbox {
  const sandbox = deps.sandboxes.find(id);
  if (sandbox === undefined) throw notFound(`sandbox ${id} not found`);
  if (!isReady(deps, id)) throw failedPrecondition(`sandbox ${id} is not ready`);
  return sandbox;
}

async function podPidns(ctx: Context, deps: InfraDeps, id: SandboxId): Promise<string> {
  try {
    return await ensureInfra(ctx, deps, id);
  } catch (cause) {
    if (isReady(deps, id)) throw cause;
    throw failedPrecondition(`sandbox ${id} was stopped meanwhile`, cause);
  }
}

/** The PID namespace of another container, for this one to join (CRI NamespaceOption.target_id). */
function targetPidns(
  deps: TaskDeps & Pick<SandboxDeps, "containers">,
  sandboxId: SandboxId,
  config: pb.ContainerConfig,
): string {
  const targetId = config.linux?.securityContext?.namespaceOptions?.targetId ?? "";
  const target = deps.containers.resolve(targetId);
  if (target?.sandboxId !== sandboxId) {
    throw notFound(`target container ${targetId.slice(0, 64)} not found in sandbox ${sandboxId}`);
  }
  if (target.state.name !== "running") {
    throw failedPrecondition(`target container ${target.id} is not running`);
  }
  return taskOf(deps, target).pidNamespace();
}
