import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import { writeNewestFirst } from "../output/newest-first.ts";

const stateNames: Readonly<Record<pb.PodSandboxState, string>> = {
  [pb.PodSandboxState.SANDBOX_READY]: "ready",
  [pb.PodSandboxState.SANDBOX_NOTREADY]: "not ready",
};

export const pods = implementCommand("pods", async (env, options) => {
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
});
