import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Container } from "../container/container.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Context } from "../lib/context.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { type EncodedItem, encodeItem, fillList, inBatches } from "./message/encoded.ts";
import { toContainerStats, toPodStats } from "./message/stats-message.ts";
import { matchesId, matchesLabels } from "./request/filter.ts";
import { getById } from "./request/lookup.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.RuntimeService>,
  | "containerStats"
  | "listContainerStats"
  | "streamContainerStats"
  | "podSandboxStats"
  | "listPodSandboxStats"
  | "streamPodSandboxStats"
>;

/** Everything is read when it is asked for: nobody pays for statistics that nobody wants. */
export function statsMethods(deps: Pick<CriDeps, "sandboxes" | "containers" | "stats">): Methods {
  const { sandboxes, containers, stats } = deps;

  async function ofContainers(
    ctx: Context,
    filter: pb.ContainerStatsFilter | undefined,
  ): Promise<readonly EncodedItem[]> {
    const found = containers.list().filter((container) => matchesContainer(container, filter));
    const read = await stats.ofContainers(ctx, found);
    return read.map((one) =>
      encodeItem(pb.ContainerStatsSchema, toContainerStats(one, stats.mountpoint)),
    );
  }

  async function ofPods(
    ctx: Context,
    filter: pb.PodSandboxStatsFilter | undefined,
  ): Promise<readonly EncodedItem[]> {
    // An ended pod uses nothing: with an entry here a kubelet's summary would show it without any value for ever.
    const found = sandboxes
      .list()
      .filter((sandbox) => sandbox.state === "ready" && matchesSandbox(sandbox, filter));
    const read = await stats.ofPods(ctx, found);
    return read.map((one) =>
      encodeItem(pb.PodSandboxStatsSchema, toPodStats(one, stats.mountpoint)),
    );
  }

  return {
    async containerStats({ containerId }, handler) {
      const container = getById(containers, "container", containerId);
      const [read] = await stats.ofContainers(contextOf(handler), [container]);
      return read === undefined ? {} : { stats: toContainerStats(read, stats.mountpoint) };
    },

    async listContainerStats({ filter }, handler) {
      const schema = pb.ListContainerStatsResponseSchema;
      const items = await ofContainers(contextOf(handler), filter);
      return fillList(create(schema), schema.field.stats.number, items);
    },

    async *streamContainerStats({ filter }, handler) {
      const schema = pb.StreamContainerStatsResponseSchema;
      const items = await ofContainers(contextOf(handler), filter);
      yield* inBatches(schema, schema.field.containerStats.number, items);
    },

    async podSandboxStats({ podSandboxId }, handler) {
      const sandbox = getById(sandboxes, "sandbox", podSandboxId);
      const [read] = await stats.ofPods(contextOf(handler), [sandbox]);
      return read === undefined ? {} : { stats: toPodStats(read, stats.mountpoint) };
    },

    async listPodSandboxStats({ filter }, handler) {
      const schema = pb.ListPodSandboxStatsResponseSchema;
      const items = await ofPods(contextOf(handler), filter);
      return fillList(create(schema), schema.field.stats.number, items);
    },

    async *streamPodSandboxStats({ filter }, handler) {
      const schema = pb.StreamPodSandboxStatsResponseSchema;
      const items = await ofPods(contextOf(handler), filter);
      yield* inBatches(schema, schema.field.podSandboxStats.number, items);
    },
  };
}

function matchesContainer(
  container: Container,
  filter: pb.ContainerStatsFilter | undefined,
): boolean {
  return (
    matchesId(container.id, filter?.id) &&
    matchesId(container.sandboxId, filter?.podSandboxId) &&
    matchesLabels(container.config.labels, filter?.labelSelector)
  );
}

function matchesSandbox(sandbox: Sandbox, filter: pb.PodSandboxStatsFilter | undefined): boolean {
  return (
    matchesId(sandbox.id, filter?.id) && matchesLabels(sandbox.config.labels, filter?.labelSelector)
  );
}
