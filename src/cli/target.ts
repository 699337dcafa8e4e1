import type * as pb from "../gen/runtime/v1/api_pb.ts";
import { notFound } from "../lib/errors.ts";
import type { CriClient } from "./client.ts";
import { UsageError } from "./failure.ts";
import { findContainer, findPod } from "./find.ts";
import { plain } from "./output/output.ts";

/** A container or a whole pod. */
export type Target =
  | { readonly kind: "pod"; readonly pod: pb.PodSandbox }
  | { readonly kind: "container"; readonly container: pb.Container };

export interface TargetKinds {
  readonly pod: boolean;
  readonly container: boolean;
}

/** A pod goes before a container of the same name, as `crib run` makes them: the pod takes the container along. */
export async function findTarget(
  cri: CriClient,
  key: string,
  kinds: TargetKinds,
  signal: AbortSignal,
): Promise<Target | undefined> {
  if (kinds.pod && kinds.container)
    throw new UsageError("--pod and --container exclude each other");
  const pod = kinds.container ? undefined : await findPod(cri, key, signal);
  if (pod !== undefined) return { kind: "pod", pod };
  const container = kinds.pod ? undefined : await findContainer(cri, key, signal);
  return container === undefined ? undefined : { kind: "container", container };
}

export async function getTarget(
  cri: CriClient,
  key: string,
  kinds: TargetKinds,
  signal: AbortSignal,
): Promise<Target> {
  const target = await findTarget(cri, key, kinds, signal);
  if (target === undefined) throw notFound(`no ${nameOf(kinds)} "${plain(key)}"`);
  return target;
}

export function podIdOf(target: Target): string {
  return target.kind === "pod" ? target.pod.id : target.container.podSandboxId;
}

function nameOf(kinds: TargetKinds): string {
  if (kinds.pod) return "pod";
  return kinds.container ? "container" : "pod or container";
}
