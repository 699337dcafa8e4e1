import { AppError, describe } from "../lib/errors.ts";
import { asArray, asInteger, asObject, asString, optional, parseJson } from "../lib/json.ts";
import { type Descriptor, parseDescriptor } from "../oci/descriptor.ts";
import { maxManifestBytes } from "../oci/manifest.ts";
import { maxProfileBytes, parseRuntimeProfile } from "./profile.ts";

/** Says that an artifact is a seccomp profile (KEP-6061, "OCI Artifact Format"). */
const profileType = "application/vnd.cncf.seccomp-profile.config.v1+json";
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const emptyType = "application/vnd.oci.empty.v1+json";

/** Rules about one call: far above what any recorded profile has. */
const maxRulesOfCall = 128;

/**
 * The one blob of a profile's manifest, the profile itself. Throws failed-precondition with the reason
 * SecurityProfileInvalid for a manifest of anything else, before any of its blobs is asked for.
 */
export function parseProfileManifest(bytes: Uint8Array, what: string): Descriptor {
  return rejecting(what, () => {
    const manifest = asObject(parseJson(bytes, what, { maxBytes: maxManifestBytes }), what);
    const mediaType = optional(manifest["mediaType"], `${what}.mediaType`, asString);
    const isManifest = asInteger(manifest["schemaVersion"], `${what}.schemaVersion`) === 2;
    if (!isManifest || (mediaType ?? manifestType) !== manifestType || "manifests" in manifest) {
      throw reject("it is not an OCI image manifest");
    }
    const config = parseDescriptor(manifest["config"], `${what}.config`);
    const artifactType = optional(manifest["artifactType"], `${what}.artifactType`, asString);
    const declared = config.mediaType === emptyType ? artifactType : config.mediaType;
    const isAmbiguous = artifactType !== undefined && artifactType !== declared;
    if (declared !== profileType || isAmbiguous) {
      const type = JSON.stringify((isAmbiguous ? artifactType : (declared ?? "")).slice(0, 100));
      throw reject(`its type is ${type} and not ${profileType}`);
    }
    const layers = asArray(manifest["layers"] ?? [], `${what}.layers`);
    if (layers.length !== 1) throw reject(`it has ${layers.length} layers and not one`);
    if ("urls" in asObject(layers[0], `${what}.layers[0]`)) {
      throw reject("its layer is kept elsewhere (urls)");
    }
    const layer = parseDescriptor(layers[0], `${what}.layers[0]`);
    if (layer.sizeBytes > maxProfileBytes) {
      throw reject(`it has ${layer.sizeBytes} bytes, over the limit of ${maxProfileBytes}`);
    }
    return layer;
  });
}

/** Throws failed-precondition with the reason SecurityProfileInvalid unless the bytes are a profile that may be applied. */
export function checkProfileDocument(bytes: Uint8Array, what: string): void {
  rejecting(what, () => {
    const { syscalls } = parseRuntimeProfile(bytes, what);
    const counts = new Map<string, number>();
    for (const name of syscalls.flatMap(({ names }) => names)) {
      const count = (counts.get(name) ?? 0) + 1;
      if (count > maxRulesOfCall) throw reject(`over ${maxRulesOfCall} rules are about ${name}`);
      counts.set(name, count);
    }
  });
}

/** Whatever is wrong with an artifact stays wrong: a kubelet is to give up (CRI PullSecurityProfile). */
function rejecting<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (err) {
    if (!(err instanceof AppError)) throw err;
    throw reject(`${what}: ${describe(err)}`);
  }
}

function reject(why: string): AppError {
  return new AppError(why, { kind: "failed-precondition", reason: "SecurityProfileInvalid" });
}
