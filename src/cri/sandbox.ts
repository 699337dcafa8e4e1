import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { toContainerStatuses } from "./message/container-message.ts";
import { EncodedItems, fillList, inBatches } from "./message/encoded.ts";
import {
  sandboxInfo,
  sandboxState,
  toSandboxItem,
  toSandboxStatus,
} from "./message/sandbox-message.ts";
import { checkMessage } from "./request/check-message.ts";
import { checkSandboxConfig } from "./request/check-sandbox.ts";
import { matchesId, matchesLabels } from "./request/filter.ts";
import { findById, getById } from "./request/lookup.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.RuntimeService>,
  | "runPodSandbox"
  | "stopPodSandbox"
  | "removePodSandbox"
  | "podSandboxStatus"
  | "updatePodSandboxResources"
  | "listPodSandbox"
  | "streamPodSandboxes"
>;

const handlerName = /^[A-Za-z0-9._-]{0,128}$/;

export function sandboxMethods(
  deps: Pick<CriDeps, "sandboxes" | "containers" | "images">,
): Methods {
  const { sandboxes, containers, images } = deps;
  const items = new EncodedItems(pb.PodSandboxSchema, toSandboxItem);
  const known = {
    find(id: string): Sandbox | undefined {
      const sandbox = sandboxes.find(id);
      return sandbox !== undefined && isKnown(sandbox) ? sandbox : undefined;
    },
  };
  const listed = (filter: pb.PodSandboxFilter | undefined) =>
    items.of(sandboxes.list().filter((sandbox) => isKnown(sandbox) && matches(sandbox, filter)));

  return {
    async runPodSandbox({ config, runtimeHandler }, handler) {
      const checked = checkSandboxConfig(config);
      if (!handlerName.test(runtimeHandler)) throw invalidArgument("runtime_handler: no such name");
      return { podSandboxId: await sandboxes.run(contextOf(handler), checked, runtimeHandler) };
    },

    /** "This call is idempotent": a sandbox that is gone has been stopped (CRI StopPodSandbox). */
    async stopPodSandbox({ podSandboxId }, handler) {
      const sandbox = findById(sandboxes, "sandbox", podSandboxId);
      if (sandbox !== undefined) await sandboxes.stop(contextOf(handler), sandbox.id);
      return {};
    },

    /** "Must not return an error if the sandbox has already been removed" (CRI RemovePodSandbox). */
    async removePodSandbox({ podSandboxId }, handler) {
      const sandbox = findById(sandboxes, "sandbox", podSandboxId);
      if (sandbox !== undefined) await sandboxes.remove(contextOf(handler), sandbox.id);
      return {};
    },

    async updatePodSandboxResources({ podSandboxId, overhead, resources }, handler) {
      for (const [name, part] of Object.entries({ overhead, resources })) {
        if (part !== undefined) checkMessage(pb.LinuxContainerResourcesSchema, part, name);
      }
      const { id } = getById(known, "sandbox", podSandboxId);
      await sandboxes.updateResources(contextOf(handler), id, { overhead, resources });
      return {};
    },

    podSandboxStatus({ podSandboxId, verbose }) {
      const sandbox = getById(known, "sandbox", podSandboxId);
      const inside = containers.list().filter((container) => container.sandboxId === sandbox.id);
      return {
        status: toSandboxStatus(sandbox),
        containersStatuses: [...toContainerStatuses(inside, (image) => images.find(image))],
        // No timestamp: by that a kubelet 1.37 with EventedPLEG believes the list above without seeing which of them
        // are in a ready sandbox, and runs init containers again. Without, it asks for each.
        info: verbose ? sandboxInfo(sandbox, sandboxes.inspect(sandbox)) : {},
      };
    },

    listPodSandbox({ filter }) {
      const schema = pb.ListPodSandboxResponseSchema;
      return fillList(create(schema), schema.field.items.number, listed(filter));
    },

    async *streamPodSandboxes({ filter }) {
      const schema = pb.StreamPodSandboxesResponseSchema;
      yield* inBatches(schema, schema.field.podSandboxes.number, listed(filter));
    },
  };
}

/** A sandbox that is still being made has no id that was returned to a client. */
function isKnown(sandbox: Sandbox): boolean {
  return sandbox.state !== "starting";
}

function matches(sandbox: Sandbox, filter: pb.PodSandboxFilter | undefined): boolean {
  if (filter === undefined) return true;
  return (
    matchesId(sandbox.id, filter.id) &&
    (filter.state === undefined || filter.state.state === sandboxState(sandbox)) &&
    matchesLabels(sandbox.config.labels, filter.labelSelector)
  );
}
