import { type ContainerCgroup, newCgroup } from "../cgroup/path.ts";
import { type Context, detached } from "../lib/context.ts";
import type { ContainerId } from "../lib/id.ts";
import type { RuntimeSpec, SpecResources } from "../oci/runtime-spec.ts";
import type { ContainerUser } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import type { Agreement, PluginRequests } from "./plugins.ts";
import { prepareSpec, type SpecDeps, type SpecRequest } from "./prepare-spec.ts";
import { blockIoKeys, rdtKeys } from "./spec/class/annotation.ts";
import { limitSwap, overlayResources } from "./spec/overlay-resources.ts";

export interface AgreedSpec extends Agreement {
  readonly spec: RuntimeSpec;
  readonly user: ContainerUser;
  /** Where the spec puts the container: `undefined` is where it was asked for. */
  readonly cgroup: ContainerCgroup | undefined;
  /** The limits that plugins chose. */
  readonly resources: SpecResources;
}

/** What making a spec with the plugins' agreement needs. */
export type AgreeDeps = SpecDeps & Pick<ContainerDeps, "plugins" | "cgroup" | "cgroupDriver">;

/** Makes a container's spec and lets plugins change it. `rollback` takes the notification that follows when the creation fails. */
export async function agreeOnSpec(
  ctx: Context,
  deps: AgreeDeps,
  rollback: AsyncDisposableStack,
  id: ContainerId,
  request: SpecRequest,
): Promise<AgreedSpec> {
  const { config, environment, image } = request;
  const { spec, user } = await prepareSpec(ctx, deps, request);
  const creation = { id, sandboxId: environment.sandboxId, config, image, user, spec };
  rollback.defer(() => deps.plugins.rollBackCreateContainer(detached(ctx), creation));
  using held = new DisposableStack();
  const adjustment = held.use(await deps.plugins.createContainer(ctx, creation));
  const { requests } = adjustment;
  const complete = hasRequests(requests)
    ? (await prepareSpec(ctx, deps, withRequests(request, requests))).spec
    : spec;
  const adjusted = adjustment.apply(complete);
  const limits = limitSwap(adjustment.resources, deps.host);
  const { cgroupsPath } = adjusted.linux;
  const cgroup =
    cgroupsPath === request.cgroupPath
      ? undefined
      : newCgroup(deps.cgroup, deps.cgroupDriver, cgroupsPath);
  const agreement = held.move();
  return {
    spec: withMemory(adjusted, limits),
    user,
    cgroup,
    resources: limits,
    [Symbol.dispose]: () => agreement.dispose(),
  };
}

function withMemory(spec: RuntimeSpec, { memory }: SpecResources): RuntimeSpec {
  if (memory === undefined) return spec;
  return {
    ...spec,
    linux: { ...spec.linux, resources: overlayResources(spec.linux.resources, { memory }) },
  };
}

function hasRequests({ devices, blockIoClass, rdtClass }: PluginRequests): boolean {
  return devices.length > 0 || blockIoClass !== undefined || rdtClass !== undefined;
}

function withRequests(request: SpecRequest, requests: PluginRequests): SpecRequest {
  const { config } = request;
  const devices = requests.devices.map(
    (name) => ({ $typeName: "runtime.v1.CDIDevice", name }) as const,
  );
  const { blockIoClass, rdtClass } = requests;
  const annotations = {
    ...config.annotations,
    ...(blockIoClass === undefined ? {} : { [blockIoKeys.container]: blockIoClass }),
    ...(rdtClass === undefined ? {} : { [rdtKeys.container]: rdtClass }),
  };
  const CDIDevices = [...config.CDIDevices, ...devices];
  return { ...request, config: { ...config, annotations, CDIDevices } };
}
