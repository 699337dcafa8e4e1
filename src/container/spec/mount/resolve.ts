import { posix } from "node:path";
import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { AppError, invalidArgument } from "../../../lib/errors.ts";
import { MountPropagation } from "../../cri.ts";
import { type IdMappings, idMappingsOf } from "./id-mappings.ts";
import { checkSharing } from "./sharing.ts";

/** A CRI mount with its source looked up on the node. */
export interface ResolvedMount {
  readonly destination: string;
  /** Absolute and free of links. */
  readonly source: string;
  readonly propagation: "rprivate" | "rslave" | "rshared";
  readonly options: readonly string[];
  readonly idMappings?: IdMappings;
}

export interface MountFeatures {
  /** The runtime handler and the kernel know recursive read-only bind mounts. */
  readonly recursiveReadOnlyMounts: boolean;
  /** The pod has a user namespace, whose mounts can be id-mapped. */
  readonly idMappedMounts: boolean;
  /** The node's path behind all links, a directory where nothing is. */
  readonly findSource: (path: string) => Promise<string>;
  /** Where the images of image volumes, or the parts of them that are asked for, have been mounted. */
  readonly imageVolumes: ReadonlyMap<pb.Mount, { readonly source: string }>;
}

const maxMounts = 4096;
const maxPathBytes = 4095;

/**
 * Looks up the sources of a container's mounts. Links are followed here, once; a source that is not there becomes a
 * directory, as the kubelet relies on. `selinux_relabel` changes nothing: sources keep their labels. Nothing below the container's root file system is touched: runc makes the
 * places that are mounted on.
 */
export async function resolveMounts(
  mounts: readonly pb.Mount[],
  features: MountFeatures,
): Promise<readonly ResolvedMount[]> {
  if (mounts.length > maxMounts) throw invalidArgument(`more than ${maxMounts} mounts`);
  const resolved: ResolvedMount[] = [];
  for (const mount of mounts) resolved.push(await resolveMount(mount, features));
  return resolved;
}

/** The mount of a directory of the container's own. */
export function volumeMount(volume: {
  readonly destination: string;
  readonly source: string;
}): ResolvedMount {
  return { ...volume, propagation: "rprivate", options: ["rbind", "rprivate", "rw"] };
}

async function resolveMount(mount: pb.Mount, features: MountFeatures): Promise<ResolvedMount> {
  const destination = checkDestination(mount.containerPath);
  if (mount.image !== undefined) {
    const volume = features.imageVolumes.get(mount);
    if (volume === undefined) throw new TypeError(`image volume at ${destination} is not mounted`);
    // Programs of an image may be run from its volume; its device nodes and setuid bits mean nothing.
    const options = [
      "rbind",
      "rprivate",
      "ro",
      "nosuid",
      "nodev",
      ...mount.mountOptions.map(checkOption),
    ];
    return { destination, source: volume.source, propagation: "rprivate", options };
  }
  const idMappings = idMappingsOf(mount, features);
  const propagation = propagationOf(mount);
  const access = accessOf(mount, features);
  const source = await features.findSource(checkSource(mount.hostPath));
  checkSharing(source, propagation);
  const options = ["rbind", propagation, access, ...mount.mountOptions.map(checkOption)];
  if (idMappings === undefined) return { destination, source, propagation, options };
  return { destination, source, propagation, options: [...options, "idmap"], idMappings };
}

function checkDestination(path: string): string {
  if (!path.startsWith("/"))
    throw invalidArgument(`mount destination ${quote(path)} is not absolute`);
  checkPath(path);
  const normal = posix.normalize(path).replace(/(?<=.)\/$/, "");
  if (normal === "/") throw invalidArgument("mount over the root of the container");
  return normal;
}

function checkSource(path: string): string {
  if (!path.startsWith("/")) throw invalidArgument(`mount source ${quote(path)} is not absolute`);
  checkPath(path);
  return path;
}

function checkPath(path: string): void {
  if (path.includes("\0")) throw invalidArgument("NUL byte in a mount path");
  if (Buffer.byteLength(path) > maxPathBytes) {
    throw invalidArgument(`mount path over ${maxPathBytes} bytes`);
  }
}

function propagationOf(mount: pb.Mount): ResolvedMount["propagation"] {
  switch (mount.propagation) {
    case MountPropagation.private:
      return "rprivate";
    case MountPropagation.hostToContainer:
      return "rslave";
    case MountPropagation.bidirectional:
      return "rshared";
    default:
      throw invalidArgument(`mount propagation ${mount.propagation}`);
  }
}

/** Read-only means the top mount only, unless recursive is asked for; that one never falls back silently. */
function accessOf(mount: pb.Mount, features: MountFeatures): "rw" | "ro" | "rro" {
  if (!mount.recursiveReadOnly) return mount.readonly ? "ro" : "rw";
  const where = quote(mount.containerPath);
  if (!mount.readonly) {
    throw invalidArgument(`recursive read-only mount at ${where} is not read-only`);
  }
  if (mount.propagation !== MountPropagation.private) {
    throw invalidArgument(`recursive read-only mount at ${where} has a propagation`);
  }
  if (!features.recursiveReadOnlyMounts) {
    throw new AppError(`recursive read-only mount at ${where}`, {
      kind: "unimplemented",
      reason: "RROUnsupported",
    });
  }
  return "rro";
}

const allowedOptions = new Set(
  "nosuid nodev noexec noatime nodiratime relatime nosymfollow".split(" "),
);

function checkOption(option: string): string {
  if (!allowedOptions.has(option)) throw invalidArgument(`mount option ${quote(option)}`);
  return option;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
