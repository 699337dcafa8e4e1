import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Container } from "../container/container.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import {
  containerInfo,
  containerState,
  toContainerItem,
  toContainerStatus,
} from "./message/container-message.ts";
import { EncodedItems, fillList, inBatches } from "./message/encoded.ts";
import { checkContainerConfig } from "./request/check-container.ts";
import { checkMessage } from "./request/check-message.ts";
import { checkSandboxConfig } from "./request/check-sandbox.ts";
import { matchesId, matchesLabels } from "./request/filter.ts";
import { findById, getById } from "./request/lookup.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.RuntimeService>,
  | "createContainer"
  | "startContainer"
  | "stopContainer"
  | "removeContainer"
  | "listContainers"
  | "streamContainers"
  | "containerStatus"
  | "updateContainerResources"
  | "reopenContainerLog"
>;

// A week. setTimeout counts to 2^31 milliseconds.
const maxStopSeconds = 7 * 24 * 3600;

export function containerMethods(
  deps: Pick<CriDeps, "sandboxes" | "containers" | "images">,
): Methods {
  const { sandboxes, containers, images } = deps;
  const items = new EncodedItems(pb.ContainerSchema, (container: Container) =>
    toContainerItem(container, images.find(container.imageId)),
  );
  const listed = (filter: pb.ContainerFilter | undefined) =>
    items.of(containers.list().filter((container) => matches(container, filter)));

  return {
    async createContainer({ podSandboxId, config, sandboxConfig }, handler) {
      const checked = checkContainerConfig(config);
      if (sandboxConfig !== undefined) checkSandboxConfig(sandboxConfig);
      const { id } = getById(sandboxes, "sandbox", podSandboxId);
      const containerId = await containers.create(contextOf(handler), id, checked, sandboxConfig);
      return { containerId };
    },

    async startContainer({ containerId }, handler) {
      const { id } = getById(containers, "container", containerId);
      await containers.start(contextOf(handler), id);
      return {};
    },

    /** "Must not return an error if the container has already been stopped" (CRI StopContainer), nor if it is gone. */
    async stopContainer({ containerId, timeout }, handler) {
      const container = findById(containers, "container", containerId);
      if (container === undefined) return {};
      const seconds = Math.min(Math.max(Number(timeout), 0), maxStopSeconds);
      await containers.stop(contextOf(handler), container.id, seconds);
      return {};
    },

    /** "Must not return an error if the container has already been removed" (CRI RemoveContainer). */
    async removeContainer({ containerId }, handler) {
      const container = findById(containers, "container", containerId);
      if (container !== undefined) await containers.remove(contextOf(handler), container.id);
      return {};
    },

    listContainers({ filter }) {
      const schema = pb.ListContainersResponseSchema;
      return fillList(create(schema), schema.field.containers.number, listed(filter));
    },

    async *streamContainers({ filter }) {
      const schema = pb.StreamContainersResponseSchema;
      yield* inBatches(schema, schema.field.containers.number, listed(filter));
    },

    containerStatus({ containerId, verbose }) {
      const container = getById(containers, "container", containerId);
      return {
        status: toContainerStatus(container, images.find(container.imageId)),
        info: verbose ? containerInfo(container, containers.spec(container.id)) : {},
      };
    },

    async updateContainerResources({ containerId, linux, annotations }, handler) {
      if (linux === undefined) throw invalidArgument("linux is missing");
      checkMessage(pb.LinuxContainerResourcesSchema, linux);
      const { id } = getById(containers, "container", containerId);
      await containers.updateResources(contextOf(handler), id, linux, annotations);
      return {};
    },

    async reopenContainerLog({ containerId }, handler) {
      const { id } = getById(containers, "container", containerId);
      await containers.reopenLog(contextOf(handler), id);
      return {};
    },
  };
}

function matches(container: Container, filter: pb.ContainerFilter | undefined): boolean {
  if (filter === undefined) return true;
  return (
    matchesId(container.id, filter.id) &&
    matchesId(container.sandboxId, filter.podSandboxId) &&
    (filter.state === undefined || filter.state.state === containerState(container)) &&
    matchesLabels(container.config.labels, filter.labelSelector)
  );
}
