import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Adjustment, Creation } from "../../container/plugins.ts";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import { applyAdjustment } from "../adjust/apply.ts";
import { type Merged, mergeAdjustment, noAdjustment } from "../adjust/merge-adjustment.ts";
import type { ValidatorConfig } from "../config.ts";
import { toContainerMessage } from "../message/container.ts";
import type { PodMessage } from "../message/pod.ts";
import { toSpecResources } from "../message/resources.ts";
import { Owners } from "../owners.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { validateAdjustment } from "../validator.ts";
import { Updates } from "./updates.ts";

export interface CreationRequest {
  readonly creation: Creation;
  readonly sandbox: Sandbox;
  readonly pod: PodMessage;
  readonly validator: ValidatorConfig;
}

/**
 * Asks one plugin after the other what it wants changed in a new container; each sees what those before it changed.
 * Then validators may refuse the result.
 */
export async function askForAdjustment(
  ctx: Context,
  plugins: readonly Plugin[],
  request: CreationRequest,
): Promise<{ readonly adjustment: Adjustment; readonly updates: Updates }> {
  const { creation, sandbox, pod, validator } = request;
  const owners = new Owners();
  const updates = new Updates(creation.id);
  let merged = noAdjustment();
  for (const plugin of plugins) {
    if (!plugin.wants("createContainer")) continue;
    const spec = applyAdjustment(creation.spec, merged);
    const container = toContainerMessage({ ...creation, spec });
    const response = await plugin.ask(ctx, nri.Plugin.method.createContainer, { pod, container });
    if (response?.adjust !== undefined) {
      merged = mergeAdjustment(merged, response.adjust, owners, plugin.title);
    }
    if (response !== undefined) updates.add(plugin.title, response);
  }
  const { config } = creation;
  validateAdjustment(validator, {
    container: config.metadata?.name ?? "",
    podAnnotations: sandbox.config.annotations,
    seccomp: config.linux?.securityContext?.seccomp?.profileType as Seccomp | undefined,
    owners,
    plugins: new Set(plugins.map(({ identity }) => identity.name)),
  });
  await askValidators(ctx, plugins, { request, merged, owners, updates });
  return { adjustment: toAdjustment(merged), updates };
}

type Seccomp = nri.SecurityProfile_ProfileType;

function toAdjustment(merged: Merged): Adjustment {
  const { resources } = merged.linux;
  return {
    requests: {
      devices: merged.CDIDevices.map(({ name }) => name),
      blockIoClass: resources?.blockioClass?.value,
      rdtClass: resources?.rdtClass?.value,
    },
    apply: (spec) => applyAdjustment(spec, merged),
    resources: resources === undefined ? {} : toSpecResources(resources),
  };
}

interface Pending {
  readonly request: CreationRequest;
  readonly merged: Merged;
  readonly owners: Owners;
  readonly updates: Updates;
}

/** All of them at once: the response of one changes nothing for another. */
async function askValidators(
  ctx: Context,
  plugins: readonly Plugin[],
  pending: Pending,
): Promise<void> {
  const validators = plugins.filter((plugin) => plugin.wants("validateContainerAdjustment"));
  if (validators.length === 0) return;
  const message = validationRequest(plugins, pending);
  const method = nri.Plugin.method.validateContainerAdjustment;
  await Promise.all(
    validators.map(async (plugin) => {
      const response = await plugin.ask(ctx, method, message);
      // A validator that says nothing has not agreed.
      if (response !== undefined && !response.reject) return;
      const reason = response?.reason.slice(0, 1000) || "no reason given";
      throw new AppError(`NRI validator ${plugin.title}: ${reason}`, { kind: "permission-denied" });
    }),
  );
}

function validationRequest(
  plugins: readonly Plugin[],
  { request, merged, owners, updates }: Pending,
): MessageInitShape<typeof nri.ValidateContainerAdjustmentRequestSchema> {
  const { creation, pod } = request;
  const allOwners = [[creation.id, owners] as const, ...updates.owners];
  return {
    pod,
    container: toContainerMessage(creation),
    adjust: merged,
    update: updates.wanted.map(({ containerId, resources, ignoreFailure }) => ({
      containerId,
      linux: { resources },
      ignoreFailure,
    })),
    owners: { owners: Object.fromEntries(allOwners.map(([id, one]) => [id, one.toMessage()])) },
    plugins: plugins.map(({ identity: { name, index } }) => ({ name, index })),
  };
}
