import { realpath } from "node:fs/promises";
import type { ContainerEdits, DeviceHook, DeviceMount, DeviceNode } from "../../../cdi/edits.ts";
import { resolveCdiDevices } from "../../../cdi/resolve.ts";
import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import type {
  SpecDevice,
  SpecDeviceRule,
  SpecHook,
  SpecHooks,
  SpecIntelRdt,
  SpecLinux,
  SpecMount,
} from "../../../oci/runtime-spec.ts";
import { childEnv } from "../../../os/process/role.ts";
import type { RuntimeFeatures } from "../../../runtime/runtime.ts";
import { rdtOfDevice } from "../class/rdt.ts";
import { type ResolvedDevices, readDevice } from "./resolve.ts";

/** What CDI devices add to a container, with all that had to be looked up on the node. */
export interface CdiChanges {
  readonly env: readonly string[];
  readonly devices: ResolvedDevices;
  readonly mounts: readonly SpecMount[];
  readonly hooks: SpecHooks | undefined;
  readonly additionalGids: readonly number[];
  readonly netDevices: SpecLinux["netDevices"];
  readonly intelRdt: SpecIntelRdt | undefined;
}

export const noCdiChanges: CdiChanges = {
  env: [],
  devices: { nodes: [], rules: [] },
  mounts: [],
  hooks: undefined,
  additionalGids: [],
  netDevices: undefined,
  intelRdt: undefined,
};

const annotationPrefix = "cdi.k8s.io/";

/**
 * The devices that a container is given: by the request's field, and by its own annotations `cdi.k8s.io/<any>: a,b`,
 * the only way of device plugins with the strategy `cdi-annotations`. A kubelet writes the container's annotations itself;
 * a user writes the pod's, which do not count.
 */
export function cdiDeviceNames(
  config: Pick<pb.ContainerConfig, "CDIDevices" | "annotations">,
): readonly string[] {
  const annotated = Object.entries(config.annotations)
    .filter(([key]) => key.startsWith(annotationPrefix))
    .flatMap(([, value]) => value.split(","));
  return [...new Set([...config.CDIDevices.map(({ name }) => name), ...annotated])];
}

export async function resolveCdi(
  names: readonly string[],
  dirs: readonly string[],
  runtime: Pick<RuntimeFeatures, "rdtSchemata">,
): Promise<CdiChanges> {
  if (names.length === 0) return noCdiChanges;
  const edits = resolveCdiDevices(names, dirs);
  const nodes = await Promise.all(edits.deviceNodes.map(resolveNode));
  return {
    env: edits.env,
    devices: {
      nodes: nodes.map(({ node }) => node),
      rules: nodes.map(({ rule }) => rule),
    },
    mounts: await Promise.all(edits.mounts.map(resolveMount)),
    hooks: hooksOf(edits),
    additionalGids: edits.additionalGids,
    netDevices:
      edits.netDevices.length === 0
        ? undefined
        : Object.fromEntries(
            edits.netDevices.map(({ hostInterfaceName, name }) => [hostInterfaceName, { name }]),
          ),
    intelRdt: edits.intelRdt && rdtOfDevice(edits.intelRdt, runtime),
  };
}

/** The node is looked at for what the file leaves out. */
async function resolveNode(
  wanted: DeviceNode,
): Promise<{ node: SpecDevice; rule: SpecDeviceRule }> {
  const { path, type, major, minor, permissions } = wanted;
  const found =
    type === undefined || major === undefined || minor === undefined
      ? await readDevice(wanted.hostPath, path)
      : { path, type, major, minor, fileMode: 0o660, uid: 0, gid: 0 };
  const node = {
    path,
    type: type ?? found.type,
    major: major ?? found.major,
    minor: minor ?? found.minor,
    fileMode: wanted.fileMode ?? found.fileMode,
    uid: wanted.uid ?? found.uid,
    gid: wanted.gid ?? found.gid,
  };
  const rule = { type: node.type, major: node.major, minor: node.minor };
  return { node, rule: { allow: true, ...rule, access: permissions } };
}

async function resolveMount({ hostPath, containerPath, options }: DeviceMount): Promise<SpecMount> {
  const isBind = options.includes("bind") || options.includes("rbind");
  if (containerPath === "/") throw invalidArgument("CDI mount over the root of the container");
  try {
    const source = await realpath(hostPath);
    const all = isBind ? options : ["rbind", ...options];
    return { destination: containerPath, type: "bind", source, options: all };
  } catch (cause) {
    throw failedPrecondition(`CDI mount of ${hostPath}`, cause);
  }
}

/**
 * Programs of the node's administrator. Their environment is what the file says and a PATH, never that of the
 * container or of the daemon: an image's LD_PRELOAD would otherwise be loaded by a program of the node.
 */
function hooksOf(edits: ContainerEdits): SpecHooks | undefined {
  if (edits.hooks.length === 0) return undefined;
  return Object.fromEntries(
    Map.groupBy(edits.hooks, ({ hookName }) => hookName)
      .entries()
      .map(([name, hooks]) => [name, hooks.map(toSpecHook)]),
  );
}

function toSpecHook({ path, args, env, timeout }: DeviceHook): SpecHook {
  return {
    path,
    ...(args.length === 0 ? {} : { args }),
    env: [`PATH=${childEnv["PATH"]}`, ...env],
    ...(timeout === undefined || timeout === 0 ? {} : { timeout }),
  };
}
