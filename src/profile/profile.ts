import type { Digest } from "../oci/digest.ts";

/** A security profile of a registry that is on this node (CRI SecurityProfileInfo). Never an image. */
export interface SecurityProfile {
  /** Of the profile's own bytes. */
  readonly digest: Digest;
  /** Of the artifacts that have led to it. */
  readonly manifests: readonly Digest[];
  readonly names: readonly ProfileName[];
  readonly sizeBytes: number;
}

/** A reference that a client has pulled the profile by. */
export interface ProfileName {
  /** As the client wrote it. */
  readonly ref: string;
  /** What the signature policy asked of this reference when it was admitted; empty for nothing. */
  readonly admittedBy: string;
}
