import { readFileSync } from "node:fs";
import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import { ProfileType } from "../../cri.ts";
import type { SpecHost } from "../host.ts";
import { refuseOciApparmor } from "./oci-profile.ts";

const loadedProfiles = "/sys/kernel/security/apparmor/profiles";

/**
 * Name of the AppArmor profile for a container; undefined for none. The new field counts before the old string. Only
 * a profile that the kernel has loaded is accepted, so that a wrong name fails here and not when the container starts.
 */
export function resolveApparmor(
  context: pb.LinuxContainerSecurityContext | undefined,
  host: Pick<SpecHost, "apparmor">,
  readLoaded: () => string = () => readFileSync(loadedProfiles, "utf8"),
): string | undefined {
  refuseOciApparmor(context?.apparmor);
  if (context === undefined || context.privileged) return undefined;
  const profile = localhostProfile(context);
  if (profile === undefined) return undefined;
  if (!host.apparmor) {
    throw failedPrecondition(`AppArmor profile ${profile}: this kernel has no AppArmor`);
  }
  const loaded = readLoaded()
    .split("\n")
    .some((line) => line.replace(/ \([a-z]+\)$/, "") === profile);
  if (!loaded) throw failedPrecondition(`AppArmor profile ${profile} is not loaded`);
  return profile;
}

/** There is no default profile of our own: RuntimeDefault confines nothing beyond what the node's policy does. */
function localhostProfile(context: pb.LinuxContainerSecurityContext): string | undefined {
  if (context.apparmor === undefined) return oldProfile(context.apparmorProfile);
  if (context.apparmor.profileType !== ProfileType.localhost) return undefined;
  return checkName(context.apparmor.localhostRef.replace(/^localhost\//, ""));
}

/** The deprecated `apparmor_profile`. */
function oldProfile(text: string): string | undefined {
  if (text === "" || text === "runtime/default" || text === "unconfined") return undefined;
  if (!text.startsWith("localhost/")) {
    throw invalidArgument(`AppArmor profile ${JSON.stringify(text.slice(0, 200))}`);
  }
  return checkName(text.slice("localhost/".length));
}

function checkName(name: string): string {
  if (name === "" || name.length > 4096 || /\p{Cc}/u.test(name)) {
    throw invalidArgument(`AppArmor profile name ${JSON.stringify(name.slice(0, 200))}`);
  }
  return name;
}
