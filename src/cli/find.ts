import * as pb from "../gen/runtime/v1/api_pb.ts";
import { invalidArgument, notFound } from "../lib/errors.ts";
import type { CriClient } from "./client.ts";
import { shortId } from "./output/format.ts";
import { plain } from "./output/output.ts";

/** The parts of a container or a pod that a person may name it by. */
interface Named {
  readonly id: string;
  readonly metadata?: { readonly name: string; readonly namespace?: string } | undefined;
}

/** By whole id, else by name (`NAME` or `NAMESPACE/NAME`), else by the beginning of an id. Throws when several fit. */
function findNamed<T extends Named>(
  what: string,
  all: readonly T[],
  key: string,
  isPreferred: (item: T) => boolean,
): T | undefined {
  const exact = all.find((item) => item.id === key);
  if (exact !== undefined) return exact;
  const named = all.filter(({ metadata }) => {
    return metadata?.name === key || `${metadata?.namespace}/${metadata?.name}` === key;
  });
  const preferred = named.filter(isPreferred);
  const candidates = [preferred, named, all.filter(({ id }) => key !== "" && id.startsWith(key))];
  const found = candidates.find((list) => list.length > 0) ?? [];
  if (found.length > 1) {
    const ids = found.slice(0, 5).map(({ id }) => shortId(id));
    throw invalidArgument(
      `"${plain(key)}" fits ${found.length} ${what}s: ${ids.join(", ")}${found.length > 5 ? ", ..." : ""}`,
    );
  }
  return found[0];
}

/** A running container goes before ended ones of the same name. */
export async function findContainer(
  cri: CriClient,
  key: string,
  signal: AbortSignal,
): Promise<pb.Container | undefined> {
  const { containers } = await cri.runtime.listContainers({}, { signal });
  return findNamed("container", containers, key, (container) => {
    return container.state === pb.ContainerState.CONTAINER_RUNNING;
  });
}

export async function findPod(
  cri: CriClient,
  key: string,
  signal: AbortSignal,
): Promise<pb.PodSandbox | undefined> {
  const { items } = await cri.runtime.listPodSandbox({}, { signal });
  return findNamed("pod", items, key, (pod) => {
    return pod.state === pb.PodSandboxState.SANDBOX_READY;
  });
}

/** The container that `key` names, or the only one of the pod that it names. */
export async function getContainer(
  cri: CriClient,
  key: string,
  signal: AbortSignal,
): Promise<pb.Container> {
  const container = await findContainer(cri, key, signal);
  if (container !== undefined) return container;
  const pod = await findPod(cri, key, signal);
  if (pod === undefined) throw notFound(`no container "${plain(key)}"`);
  const filter = { podSandboxId: pod.id };
  const { containers } = await cri.runtime.listContainers({ filter }, { signal });
  const [only, ...others] = containers;
  if (only === undefined) throw notFound(`pod "${plain(key)}" has no container`);
  if (others.length > 0) {
    throw invalidArgument(`pod "${plain(key)}" has ${containers.length} containers: name one`);
  }
  return only;
}
