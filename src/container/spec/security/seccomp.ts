import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { release } from "node:os";
import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import type { Log } from "../../../lib/log.ts";
import type { SpecCapabilities, SpecSeccomp } from "../../../oci/runtime-spec.ts";
import { nativeArch } from "../../../seccomp/conditions.ts";
import { intersectProfiles } from "../../../seccomp/intersect.ts";
import {
  maxProfileBytes,
  parseRuntimeProfile,
  parseSeccompProfile,
} from "../../../seccomp/profile.ts";
import { BaseType, ProfileType } from "../../cri.ts";
import type { SpecHost } from "../host.ts";
import { resolveCapabilities } from "./capabilities.ts";
import { defaultSeccomp } from "./default-seccomp.ts";
import { refuseOciApparmor, refuseOciFields } from "./oci-profile.ts";

/** What a request says about seccomp, in the new field or the old string. */
type Choice =
  | Base
  | { readonly name: "unconfined" }
  | { readonly name: "oci"; readonly ref: string; readonly base: Base };

/** A profile of this node. */
type Base = { readonly name: "default" } | { readonly name: "localhost"; readonly path: string };

export interface SeccompDeps {
  readonly host: Pick<SpecHost, "arch" | "boundingCapabilities">;
  readonly profiles: PulledProfiles;
  readonly log: Log;
}

/** The profiles that were pulled from registries; `read` returns nothing for a reference that none was pulled by. */
export interface PulledProfiles {
  read(ref: string): Uint8Array | undefined;
}

/**
 * The filter of a container; undefined for none, which only a privileged container gets and one that asked for it or
 * said nothing. A profile that is named but cannot be read or understood is an error, never "no filter":
 * invalid-argument for a request that contradicts itself, failed-precondition for a profile that this node lacks.
 * A pulled profile is never used alone: a call is permitted if its base permits it too (CRI SecurityProfile).
 */
export async function resolveSeccomp(
  context: pb.LinuxContainerSecurityContext | undefined,
  { host, profiles, log }: SeccompDeps,
): Promise<SpecSeccomp | undefined> {
  if (context === undefined || context.privileged) return undefined;
  const choice = choiceOf(context);
  const capabilities = resolveCapabilities(context, host.boundingCapabilities);
  switch (choice.name) {
    case "unconfined":
      return undefined;
    case "oci": {
      const base = await readBase(choice.base, capabilities, host);
      const pulled = readPulled(profiles, choice.ref);
      const { profile, simplified } = intersectProfiles(base, pulled, nativeArch[host.arch]);
      if (simplified.length > 0) {
        const calls = simplified.slice(0, maxLoggedCalls).join(" ");
        log.warn("seccomp profile simplified", { profile: choice.ref, calls });
      }
      return profile;
    }
    default:
      return await readBase(choice, capabilities, host);
  }
}

/**
 * Checks the profiles of a sandbox: the same as of a container, before anything is made for it. Its own process runs
 * under a stricter filter than any of them.
 */
export async function checkSandboxProfiles(
  context: pb.LinuxSandboxSecurityContext | undefined,
  profiles: PulledProfiles,
): Promise<void> {
  refuseOciApparmor(context?.apparmor);
  if (context?.seccomp === undefined) return;
  const choice = parseChoice(context.seccomp);
  if (choice.name !== "oci") return;
  readPulled(profiles, choice.ref);
  if (choice.base.name === "localhost") await readProfile(choice.base.path);
}

/** Names of calls in one line of the log. */
const maxLoggedCalls = 20;

async function readBase(
  base: Base,
  capabilities: SpecCapabilities,
  { arch }: Pick<SpecHost, "arch">,
): Promise<SpecSeccomp> {
  if (base.name === "default") return defaultSeccomp(capabilities, arch);
  return parseSeccompProfile(await readProfile(base.path), `seccomp profile ${base.path}`, {
    arch,
    capabilities: capabilities.bounding,
    kernel: release(),
  });
}

function readPulled(profiles: PulledProfiles, ref: string): SpecSeccomp {
  const bytes = profiles.read(ref);
  if (bytes !== undefined) return parseRuntimeProfile(bytes, `seccomp profile ${ref}`);
  throw failedPrecondition(`seccomp profile ${ref} was not pulled (PullSecurityProfile)`);
}

function choiceOf(context: pb.LinuxContainerSecurityContext): Choice {
  return context.seccomp === undefined
    ? oldChoice(context.seccompProfilePath)
    : parseChoice(context.seccomp);
}

function parseChoice(profile: pb.SecurityProfile): Choice {
  if (profile.profileType !== ProfileType.oci) refuseOciFields("seccomp", profile);
  switch (profile.profileType) {
    case ProfileType.runtimeDefault:
      return { name: "default" };
    case ProfileType.unconfined:
      return { name: "unconfined" };
    case ProfileType.localhost:
      return { name: "localhost", path: profile.localhostRef };
    case ProfileType.oci:
      if (profile.ociRef === "") throw invalidArgument("seccomp.oci_ref is missing");
      return { name: "oci", ref: profile.ociRef, base: parseBase(profile.baseProfile) };
    default:
      throw invalidArgument(`seccomp profile type ${profile.profileType}`);
  }
}

function parseBase(base: pb.SecurityProfileBase | undefined): Base {
  if (base === undefined) return { name: "default" };
  switch (base.type) {
    case BaseType.runtimeDefault:
      if (base.localhostRef === "") return { name: "default" };
      throw invalidArgument("seccomp.base_profile.localhost_ref is set, and its type is another");
    case BaseType.localhost:
      if (base.localhostRef !== "") return { name: "localhost", path: base.localhostRef };
      throw invalidArgument("seccomp.base_profile.localhost_ref is missing");
    default:
      throw invalidArgument(`seccomp.base_profile.type ${base.type}`);
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
