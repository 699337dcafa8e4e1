import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { defineCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { formatAge, shortId } from "../format.ts";
import { listOptions, writeList } from "../list-output.ts";

const stateNames: Readonly<Record<pb.ContainerState, string>> = {
  [pb.ContainerState.CONTAINER_CREATED]: "created",
  [pb.ContainerState.CONTAINER_RUNNING]: "running",
  [pb.ContainerState.CONTAINER_EXITED]: "exited",
  [pb.ContainerState.CONTAINER_UNKNOWN]: "unknown",
};

export const ps = defineCommand({
  name: "ps",
  group: "containers and pods",
  summary: "list containers: the running ones, or all",
  usage: "",
  examples: ["crib ps", "crib ps -a", "crib ps -q | xargs crib stop", "crib ps -a -o json"],
  options: {
    all: { kind: "flag", short: "a", help: "also those that are created or have ended" },
    ...listOptions,
  },
  positionals: { min: 0, max: 0 },
  async run(env, options) {
    using cri = env.connect();
    const { signal } = env.ctx;
    const state = { state: pb.ContainerState.CONTAINER_RUNNING };
    const filter = options.all ? {} : { state };
    const [{ containers }, { items: pods }] = await Promise.all([
      cri.runtime.listContainers({ filter }, { signal }),
      cri.runtime.listPodSandbox({}, { signal }),
    ]);
    const newestFirst = containers.toSorted((a, b) => Number(b.createdAt - a.createdAt));
    const podNames = new Map(pods.map((pod) => [pod.id, pod.metadata?.name ?? ""]));
    const id = options["no-trunc"] ? (text: string) => text : shortId;
    const now = env.now();
    writeList(env.out, options, {
      schema: pb.ListContainersResponseSchema,
      message: create(pb.ListContainersResponseSchema, { containers: newestFirst }),
      ids: newestFirst.map((container) => container.id),
      header: ["CONTAINER", "NAME", "POD", "IMAGE", "STATE", "AGE"],
      rows: newestFirst.map((container) => [
        id(container.id),
        container.metadata?.name ?? "",
        podNames.get(container.podSandboxId) ?? shortId(container.podSandboxId),
        imageName(container),
        stateNames[container.state] ?? "unknown",
        formatAge(container.createdAt, now),
      ]),
    });
    return exitCodes.ok;
  },
});

/** What the user wrote, or else what the container was made from. */
function imageName({ image, imageRef }: pb.Container): string {
  const name = image?.userSpecifiedImage || image?.image || imageRef;
  return /^(sha256:)?[0-9a-f]{64}$/.test(name) ? shortId(name) : name;
}
