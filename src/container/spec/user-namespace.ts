import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { IdRange, PodIds } from "../../oci/pod-ids.ts";
import { NamespaceMode } from "../cri.ts";

/**
 * The ids of the user namespace that a pod asks for; undefined for the node's own. Kubernetes gives a pod one range of
 * users and one of groups, which begin with the root of its containers.
 */
export function podIdsOf(options: pb.UserNamespace | undefined): PodIds | undefined {
  if (options === undefined) return undefined;
  const { mode, uids, gids } = options;
  if (mode === NamespaceMode.node) {
    if (uids.length + gids.length === 0) return undefined;
    throw invalidArgument("user namespace mode NODE has id mappings");
  }
  if (mode !== NamespaceMode.pod) {
    throw invalidArgument("user namespace mode is neither POD nor NODE");
  }
  return { uids: rangeOf("uid", uids), gids: rangeOf("gid", gids) };
}

/** A container may repeat what its pod has, or say nothing; it has no user namespace of its own. */
export function checkSameUserNamespace(
  options: pb.UserNamespace | undefined,
  pod: PodIds | undefined,
): void {
  if (options === undefined) return;
  const asked = podIdsOf(options);
  if (isSame(asked?.uids, pod?.uids) && isSame(asked?.gids, pod?.gids)) return;
  throw invalidArgument("the container's user namespace is not that of its sandbox");
}

function isSame(a: IdRange | undefined, b: IdRange | undefined): boolean {
  return a?.hostId === b?.hostId && a?.length === b?.length;
}

/** 2^32 - 1 means "no id" to the kernel. */
const endOfIds = 0xffff_ffff;

function rangeOf(what: "uid" | "gid", mappings: readonly pb.IDMapping[]): IdRange {
  const [mapping, ...more] = mappings;
  if (mapping === undefined || more.length > 0) {
    throw invalidArgument(`${mappings.length} ${what} mappings, one is needed`);
  }
  const { containerId, hostId, length } = mapping;
  if (containerId !== 0) throw invalidArgument(`${what} 0 of the container is not mapped`);
  if (length === 0) throw invalidArgument(`${what} mapping of no ids`);
  if (hostId === 0) throw invalidArgument(`${what} mapping begins with the node's root`);
  if (hostId + length > endOfIds) throw invalidArgument(`${what} mapping goes beyond 4294967294`);
  return { hostId, length };
}
