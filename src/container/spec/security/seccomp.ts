import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { release } from "node:os";
import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import type { SpecSeccomp } from "../../../oci/runtime-spec.ts";
import { ProfileType } from "../cri.ts";
import type { SpecHost } from "../host.ts";
import { resolveCapabilities } from "./capabilities.ts";
import { defaultSeccomp } from "./default-seccomp.ts";
import { parseSeccompProfile } from "./seccomp-profile.ts";

const maxProfileBytes = 1 << 20;

/** What a request says about seccomp, in the new field or the old string. */
type Choice =
  | { readonly name: "unconfined" | "default" }
  | { readonly name: "localhost"; readonly path: string };

/**
 * The filter of a container; undefined for none, which only a privileged container gets and one that asked for it or
 * said nothing. A profile that is named but cannot be read or understood is an error, never "no filter".
 */
export async function resolveSeccomp(
  context: pb.LinuxContainerSecurityContext | undefined,
  host: Pick<SpecHost, "arch" | "boundingCapabilities">,
): Promise<SpecSeccomp | undefined> {
  if (context === undefined || context.privileged) return undefined;
  const choice = choiceOf(context);
  const capabilities = resolveCapabilities(context, host.boundingCapabilities);
  switch (choice.name) {
    case "unconfined":
      return undefined;
    case "default":
      return defaultSeccomp(capabilities, host.arch);
    case "localhost":
      return parseSeccompProfile(await readProfile(choice.path), `seccomp profile ${choice.path}`, {
        arch: host.arch,
        capabilities: capabilities.bounding,
        kernel: release(),
      });
  }
}

function choiceOf(context: pb.LinuxContainerSecurityContext): Choice {
  const profile = context.seccomp;
  if (profile === undefined) return oldChoice(context.seccompProfilePath);
  switch (profile.profileType) {
    case ProfileType.runtimeDefault:
      return { name: "default" };
    case ProfileType.unconfined:
      return { name: "unconfined" };
    case ProfileType.localhost:
      return { name: "localhost", path: profile.localhostRef };
    default:
      throw invalidArgument(`seccomp profile type ${profile.profileType}`);
  }
}

/** The deprecated `seccomp_profile_path`. */
function oldChoice(text: string): Choice {
  if (text === "" || text === "unconfined") return { name: "unconfined" };
  if (text === "runtime/default" || text === "docker/default") return { name: "default" };
  if (text.startsWith("localhost/")) {
    return { name: "localhost", path: text.slice("localhost/".length) };
  }
  throw invalidArgument(`seccomp profile ${JSON.stringify(text.slice(0, 200))}`);
}

async function readProfile(path: string): Promise<Buffer> {
  if (!path.startsWith("/") || path.includes("\0") || path.split("/").includes("..")) {
    throw invalidArgument(`seccomp profile ${JSON.stringify(path.slice(0, 200))} is not absolute`);
  }
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await file.stat();
    if (!stat.isFile()) throw invalidArgument("not a regular file");
    if (stat.size > maxProfileBytes) throw invalidArgument(`over ${maxProfileBytes} bytes`);
    return await file.readFile();
  } catch (cause) {
    throw failedPrecondition(`seccomp profile ${path}`, cause);
  }
}
