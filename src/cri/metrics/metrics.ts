import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import { SharedFlight } from "../../lib/shared-flight.ts";
import { contextOf } from "../call/interceptor.ts";
import type { CriDeps } from "../deps.ts";
import { type EncodedItem, encodeItem, fillList, inBatches } from "../message/encoded.ts";
import { metricDescriptors, toPodMetrics } from "./pod-message.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.RuntimeService>,
  "listMetricDescriptors" | "listPodSandboxMetrics" | "streamPodSandboxMetrics"
>;

/** What a kubelet passes on under /metrics/cadvisor (KEP-2371), so that it needs no cAdvisor. */
export function metricsMethods({ stats }: Pick<CriDeps, "stats">): Methods {
  const reading = new SharedFlight<readonly EncodedItem[]>();

  async function read(ctx: Context): Promise<readonly EncodedItem[]> {
    const { filesystem, pods } = await stats.metrics(ctx);
    const node = { filesystem, accounts: stats.accounts };
    return pods.map((pod) => encodeItem(pb.PodSandboxMetricsSchema, toPodMetrics(pod, node)));
  }

  /** Calls at the same time share one reading: those of all pods take a lot of memory while they are read. */
  const ofPods = ({ signal, log }: Context) =>
    reading.run("", signal, (ofAll) => read({ signal: ofAll, log }), { retries: false });

  return {
    /** The same as long as the daemon lives: a kubelet asks once. */
    listMetricDescriptors() {
      return { descriptors: metricDescriptors(stats.accounts) };
    },

    async listPodSandboxMetrics(_request, handler) {
      const schema = pb.ListPodSandboxMetricsResponseSchema;
      const items = await ofPods(contextOf(handler));
      return fillList(create(schema), schema.field.podMetrics.number, items);
    },

    async *streamPodSandboxMetrics(_request, handler) {
      const schema = pb.StreamPodSandboxMetricsResponseSchema;
      yield* inBatches(
        schema,
        schema.field.podSandboxMetrics.number,
        await ofPods(contextOf(handler)),
      );
    },
  };
}
