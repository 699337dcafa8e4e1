import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { defineCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { formatAge, shortId } from "../format.ts";
import { listOptions, writeList } from "../list-output.ts";

const stateNames: Readonly<Record<pb.PodSandboxState, string>> = {
  [pb.PodSandboxState.SANDBOX_READY]: "ready",
  [pb.PodSandboxState.SANDBOX_NOTREADY]: "not ready",
};

export const pods = defineCommand({
  name: "pods",
  group: "containers and pods",
  summary: "list pods",
  usage: "",
  examples: ["crib pods", "crib pods --namespace kube-system", "crib pods -q | xargs crib rm -f"],
  options: {
    namespace: { kind: "value", short: "n", argument: "NAME", help: "only pods of this namespace" },
    ...listOptions,
  },
  positionals: { min: 0, max: 0 },
  async run(env, options) {
    using cri = env.connect();
    const { items } = await cri.runtime.listPodSandbox({}, { signal: env.ctx.signal });
    const wanted = items
      .filter((pod) => (options.namespace ?? pod.metadata?.namespace) === pod.metadata?.namespace)
      .sort((a, b) => Number(b.createdAt - a.createdAt));
    const id = options["no-trunc"] ? (text: string) => text : shortId;
    const now = env.now();
    writeList(env.out, options, {
      schema: pb.ListPodSandboxResponseSchema,
      message: create(pb.ListPodSandboxResponseSchema, { items: wanted }),
      ids: wanted.map((pod) => pod.id),
      header: ["POD", "NAME", "NAMESPACE", "STATE", "HANDLER", "AGE"],
      rows: wanted.map((pod) => [
        id(pod.id),
        pod.metadata?.name ?? "",
        pod.metadata?.namespace ?? "",
        stateNames[pod.state] ?? "unknown",
        pod.runtimeHandler,
        formatAge(pod.createdAt, now),
      ]),
    });
    return exitCodes.ok;
  },
});
