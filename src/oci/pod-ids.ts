import { invalidArgument } from "../lib/errors.ts";

/** The ids from 0 on inside a user namespace are the node's from `hostId` on. */
export interface IdRange {
  readonly hostId: number;
  readonly length: number;
}

/** The users and groups of a pod with a user namespace of its own. */
export interface PodIds {
  readonly uids: IdRange;
  readonly gids: IdRange;
}

/** A user namespace that exists. */
export interface UserNamespace {
  /** Where it is pinned. */
  readonly path: string;
  readonly ids: PodIds;
}

/** The node's id of one inside; `undefined` where the namespace has none for it. */
export function toHostId(range: IdRange, id: number): number | undefined {
  return id < range.length ? range.hostId + id : undefined;
}

/** A user inside, as the node has it. */
export function hostUser(
  ids: PodIds,
  user: { readonly uid: number; readonly gid: number },
): { readonly uid: number; readonly gid: number } {
  const uid = toHostId(ids.uids, user.uid);
  const gid = toHostId(ids.gids, user.gid);
  if (uid !== undefined && gid !== undefined) return { uid, gid };
  throw invalidArgument(`user ${user.uid}:${user.gid} is not in the pod's user namespace`);
}

/** Owner on the node of what is the pod's root's. */
export function rootOf(ids: PodIds): { readonly uid: number; readonly gid: number } {
  return { uid: ids.uids.hostId, gid: ids.gids.hostId };
}
