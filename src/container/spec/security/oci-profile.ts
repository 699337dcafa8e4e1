import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../../lib/errors.ts";
import { ProfileType } from "../../cri.ts";

/** Profiles from registries are for seccomp only (CRI SecurityProfile). */
export function refuseOciApparmor(profile: pb.SecurityProfile | undefined): void {
  if (profile === undefined) return;
  if (profile.profileType === ProfileType.oci) {
    throw invalidArgument("apparmor: profiles from registries are for seccomp only");
  }
  refuseOciFields("apparmor", profile);
}

/** The fields of an OCI profile mean nothing to the other types, and whoever set them meant something. */
export function refuseOciFields(field: string, { ociRef, baseProfile }: pb.SecurityProfile): void {
  if (ociRef !== "") throw invalidArgument(`${field}.oci_ref is set, and the type is not OCI`);
  if (baseProfile !== undefined) {
    throw invalidArgument(`${field}.base_profile is set, and the type is not OCI`);
  }
}
