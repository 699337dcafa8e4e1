import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { defineCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import { objectListOptions, writeNewestFirst } from "../output/newest-first.ts";

const stateNames: Readonly<Record<pb.PodSandboxState, string>> = {
  [pb.PodSandboxState.SANDBOX_READY]: "ready",
  [pb.PodSandboxState.SANDBOX_NOTREADY]: "not ready",
};

export const pods = defineCommand({
  name: "pods",
  group: "containers and pods",
  summary: "list pods",
  usage: "",
  examples: [
    "crib pods",
    "crib pods --namespace kube-system -l app=dns",
    "crib pods -q | xargs crib rm -f",
  ],
  options: {
    namespace: { kind: "value", short: "n", argument: "NAME", help: "only pods of this namespace" },
    ...objectListOptions,
  },
  positionals: { min: 0, max: 0 },
  async run(env, options) {
    using cri = env.connect();
    const filter = { labelSelector: parseLabels(options.label) };
    const { items } = await cri.runtime.listPodSandbox({ filter }, { signal: env.ctx.signal });
    writeNewestFirst(env, options, {
      items: items.filter(
        ({ metadata }) => (options.namespace ?? metadata?.namespace) === metadata?.namespace,
      ),
      schema: pb.ListPodSandboxResponseSchema,
      message: (sorted) => create(pb.ListPodSandboxResponseSchema, { items: sorted }),
      header: ["POD", "NAME", "NAMESPACE", "STATE", "HANDLER"],
      row: (pod) => [
        pod.metadata?.name ?? "",
        pod.metadata?.namespace ?? "",
        stateNames[pod.state] ?? "unknown",
        pod.runtimeHandler,
      ],
    });
    return exitCodes.ok;
  },
});
