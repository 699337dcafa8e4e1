import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { AppError, invalidArgument } from "../../../lib/errors.ts";
import type { SpecIdMapping } from "../../../oci/runtime-spec.ts";

export interface IdMappings {
  readonly uidMappings: readonly SpecIdMapping[];
  readonly gidMappings: readonly SpecIdMapping[];
}

/** As many as the kernel takes (user_namespaces(7)). */
const maxMappings = 340;
const endOfIds = 0xffff_ffff;

/** How the ids of a volume's files are seen in a pod with a user namespace; undefined for as they are. */
export function idMappingsOf(
  mount: Pick<pb.Mount, "containerPath" | "uidMappings" | "gidMappings">,
  features: { readonly idMappedMounts: boolean },
): IdMappings | undefined {
  const { uidMappings, gidMappings } = mount;
  if (uidMappings.length + gidMappings.length === 0) return undefined;
  const where = JSON.stringify(mount.containerPath.slice(0, 200));
  if (uidMappings.length === 0 || gidMappings.length === 0) {
    throw invalidArgument(`id-mapped mount at ${where} needs mappings of users and of groups`);
  }
  if (!features.idMappedMounts) {
    throw new AppError(`id-mapped mount at ${where} in a pod without a user namespace`, {
      kind: "failed-precondition",
    });
  }
  return { uidMappings: toSpec(uidMappings, where), gidMappings: toSpec(gidMappings, where) };
}

function toSpec(mappings: readonly pb.IDMapping[], where: string): readonly SpecIdMapping[] {
  if (mappings.length > maxMappings) {
    throw invalidArgument(`id-mapped mount at ${where}: over ${maxMappings} mappings`);
  }
  return mappings.map(({ containerId, hostId, length }) => {
    if (length === 0 || Math.max(containerId, hostId) + length > endOfIds) {
      throw invalidArgument(`id-mapped mount at ${where}: mapping of no ids, or beyond 4294967294`);
    }
    return { containerID: containerId, hostID: hostId, size: length };
  });
}
