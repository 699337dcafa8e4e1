import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { findContainer, findPod } from "../find.ts";
import { findImage } from "../image/image.ts";
import { plain } from "../output/output.ts";
import { verboseJson } from "../output/verbose-json.ts";

const kinds = ["container", "pod", "image"] as const;
type Kind = (typeof kinds)[number];

export const inspect = implementCommand("inspect", async (env, { type }, [key = ""]) => {
  const wanted = type === undefined ? kinds : kinds.filter((kind) => kind === type);
  if (wanted.length === 0) throw new UsageError(`--type ${type}: not container, pod or image`);
  using cri = env.connect();
  for (const kind of wanted) {
    const found = await inspectors[kind](cri, key, env.ctx.signal);
    if (found === undefined) continue;
    env.out.write(`${JSON.stringify(found, null, 2)}\n`);
    return exitCodes.ok;
  }
  throw notFound(`no ${type ?? "container, pod or image"} "${plain(key)}"`);
});

type Inspector = (cri: CriClient, key: string, signal: AbortSignal) => Promise<object | undefined>;

const inspectors: Readonly<Record<Kind, Inspector>> = {
  async container(cri, key, signal) {
    const container = await findContainer(cri, key, signal);
    if (container === undefined) return undefined;
    const response = await cri.runtime.containerStatus(
      { containerId: container.id, verbose: true },
      { signal },
    );
    return verboseJson(pb.ContainerStatusResponseSchema, response);
  },
  async pod(cri, key, signal) {
    const pod = await findPod(cri, key, signal);
    if (pod === undefined) return undefined;
    const response = await cri.runtime.podSandboxStatus(
      { podSandboxId: pod.id, verbose: true },
      { signal },
    );
    return verboseJson(pb.PodSandboxStatusResponseSchema, response);
  },
  async image(cri, key, signal) {
    const found = await findImage(cri, key, signal);
    if (found === undefined) return undefined;
    const response = await cri.images.imageStatus(
      { image: { image: found.id }, verbose: true },
      { signal },
    );
    return verboseJson(pb.ImageStatusResponseSchema, response);
  },
};
