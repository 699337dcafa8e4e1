import type { PolicyFiles } from "../signature/policy.ts";
import type { Config } from "./config/config.ts";

/** Where the signature policy is; the second place is the one that podman and CRI-O read. */
export function policyFilesOf({ images }: Pick<Config, "images">): PolicyFiles {
  return {
    named: images.signaturePolicyFile,
    usual: ["/etc/crib/policy.json", "/etc/containers/policy.json"],
  };
}
