import type * as pb from "../gen/runtime/v1/api_pb.ts";

/* The numbers of CRI enums that decide something here: this folder names generated types, it does not run them. */

export const NamespaceMode = {
  pod: 0,
  container: 1,
  node: 2,
  target: 3,
} as const satisfies Record<string, pb.NamespaceMode>;

/** CRI Protocol by number. */
export const protocols = ["tcp", "udp", "sctp"] as const;

export const MountPropagation = {
  private: 0,
  hostToContainer: 1,
  bidirectional: 2,
} as const satisfies Record<string, pb.MountPropagation>;

export const ProfileType = {
  runtimeDefault: 0,
  unconfined: 1,
  localhost: 2,
  oci: 3,
} as const satisfies Record<string, pb.SecurityProfile_ProfileType>;

export const BaseType = {
  runtimeDefault: 0,
  localhost: 1,
} as const satisfies Record<string, pb.SecurityProfileBase_BaseType>;

export const CgroupMountMode = {
  unspecified: 0,
  readOnly: 1,
  readWrite: 2,
} as const satisfies Record<string, pb.CgroupMountMode>;

export const GroupsPolicy = {
  merge: 0,
  strict: 1,
} as const satisfies Record<string, pb.SupplementalGroupsPolicy>;
