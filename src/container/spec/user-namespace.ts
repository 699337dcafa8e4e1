import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { NamespaceMode } from "./cri.ts";

/**
 * Checks the user namespace that a pod or container asks for. Only the node's is there now: a proper request for an
 * own one is `unimplemented`, a wrong one `invalid-argument`.
 */
export function checkUserNamespace(options: pb.UserNamespace | undefined): void {
  if (options === undefined || options.mode === NamespaceMode.node) return;
  if (options.mode !== NamespaceMode.pod) {
    throw invalidArgument("user namespace mode is neither POD nor NODE");
  }
  checkMappings("uid", options.uids);
  checkMappings("gid", options.gids);
  throw new AppError("user namespaces for pods", { kind: "unimplemented" });
}

/** Kubernetes gives a pod one range, which holds the root of the container. */
function checkMappings(what: "uid" | "gid", mappings: readonly pb.IDMapping[]): void {
  const [mapping, ...more] = mappings;
  if (mapping === undefined || more.length > 0) {
    throw invalidArgument(`${mappings.length} ${what} mappings, one is needed`);
  }
  if (mapping.containerId !== 0) throw invalidArgument(`${what} 0 of the container is not mapped`);
  if (mapping.length === 0) throw invalidArgument(`${what} mapping of no ids`);
  if (mapping.hostId + mapping.length > 0xffff_ffff) {
    throw invalidArgument(`${what} mapping goes beyond 4294967294`);
  }
}
