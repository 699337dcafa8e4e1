import { enumToJson } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { parts, version } from "../../version.ts";
import type { CriClient } from "../client.ts";
import type { ReadConfig } from "../command.ts";
import type { BundlePart } from "./bundle.ts";

const callMs = 30_000;
/** Of as many containers the status is asked for. */
const maxStatuses = 500;

/** What the daemon says, where it runs. Nothing of a container that its users chose but names and images. */
export function daemonParts(cri: CriClient, config: () => Promise<ReadConfig>): BundlePart[] {
  const options = { timeoutMs: callMs };
  return [
    {
      name: "version.json",
      about: "versions of crib, of what is in it, and of the daemon",
      read: async () => {
        const daemon = await cri.runtime.version({}, options).catch(() => undefined);
        return json({ crib: version, parts, daemon: daemon?.runtimeVersion ?? "not running" });
      },
    },
    {
      name: "config.json",
      about: "the settings in force and where they are from, without secrets",
      read: async () => json(await config()),
    },
    {
      name: "activity.json",
      about: "calls and steps in progress, locks, subscribers, memory (crib debug)",
      read: async () => json(await cri.admin.getActivity({}, options)),
    },
    {
      name: "status.json",
      about: "conditions and runtime handlers, as a kubelet gets them",
      read: async () => {
        const { status, runtimeHandlers } = await cri.runtime.status({}, options);
        return json({ status, runtimeHandlers });
      },
    },
    { name: "pods.json", about: "records of pods", read: () => readPods(cri) },
    { name: "containers.json", about: "records of containers", read: () => readContainers(cri) },
    { name: "images.json", about: "images and where they are from", read: () => readImages(cri) },
    {
      name: "disk.json",
      about: "what images, containers and logs take",
      read: async () => json(await cri.admin.getDiskUsage({}, options)),
    },
  ];
}

async function readPods({ runtime }: CriClient): Promise<string> {
  const { items } = await runtime.listPodSandbox({}, { timeoutMs: callMs });
  return json(
    items.map(({ id, metadata, state, createdAt, runtimeHandler }) => ({
      id,
      namespace: metadata?.namespace,
      name: metadata?.name,
      uid: metadata?.uid,
      attempt: metadata?.attempt,
      state: enumToJson(pb.PodSandboxStateSchema, state),
      createdAt: timeOf(createdAt),
      runtimeHandler,
    })),
  );
}

async function readContainers({ runtime }: CriClient): Promise<string> {
  const { containers } = await runtime.listContainers({}, { timeoutMs: callMs });
  const rows = [];
  for (const [i, { id, podSandboxId, metadata, image, state, createdAt }] of containers.entries()) {
    const status =
      i < maxStatuses
        ? (
            await runtime
              .containerStatus({ containerId: id }, { timeoutMs: callMs })
              .catch(() => {})
          )?.status
        : undefined;
    rows.push({
      ...{ id, podSandboxId, name: metadata?.name, attempt: metadata?.attempt },
      ...{
        image: image?.image,
        state: enumToJson(pb.ContainerStateSchema, state),
        createdAt: timeOf(createdAt),
      },
      startedAt: timeOf(status?.startedAt ?? 0n),
      finishedAt: timeOf(status?.finishedAt ?? 0n),
      ...{ exitCode: status?.exitCode, reason: status?.reason },
    });
  }
  return json(rows);
}

async function readImages({ images }: CriClient): Promise<string> {
  const all = await images.listImages({}, { timeoutMs: callMs });
  return json(
    all.images.map(({ id, repoTags, repoDigests, size, pinned }) => {
      return { id, repoTags, repoDigests, size, pinned };
    }),
  );
}

function timeOf(ns: bigint): string | undefined {
  return ns === 0n ? undefined : new Date(Number(ns / 1_000_000n)).toISOString();
}

function json(value: unknown): string {
  const plain = (key: string, entry: unknown) => {
    if (key === "$typeName" || key === "$unknown") return undefined;
    return typeof entry === "bigint" ? Number(entry) : entry;
  };
  return `${JSON.stringify(value, plain, 2)}\n`;
}
