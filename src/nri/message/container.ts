import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ContainerState, ContainerUser } from "../../container/container.ts";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type * as cri from "../../gen/runtime/v1/api_pb.ts";
import type { Image } from "../../image/image.ts";
import type { RuntimeSpec, SpecDevice, SpecHook } from "../../oci/runtime-spec.ts";
import { compact } from "./compact.ts";
import { toNriResources } from "./resources.ts";
import { toNriSeccomp } from "./seccomp.ts";

export type ContainerMessage = MessageInitShape<typeof nri.ContainerSchema>;

/** What plugins get to know of a container, whether it is there already or about to be created. */
export interface ContainerView {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: cri.ContainerConfig;
  readonly user: ContainerUser;
  /** Absent when it has been removed. */
  readonly image: Image | undefined;
  /** Absent when the bundle is gone: then nothing can be said of what is in it. */
  readonly spec: RuntimeSpec | undefined;
  /** Absent before it is created. */
  readonly state?: ContainerState;
  readonly createdAtNs?: bigint;
}

export function toContainerMessage(view: ContainerView): ContainerMessage {
  const { config, user, spec, image } = view;
  return compact({
    id: view.id,
    podSandboxId: view.sandboxId,
    name: config.metadata?.name ?? "",
    labels: config.labels,
    annotations: { ...config.annotations, ...spec?.annotations },
    ...(spec === undefined ? {} : fromSpec(spec)),
    linux: spec === undefined ? undefined : toLinux(spec, config),
    CDIDevices: config.CDIDevices.map(({ name }) => ({ name })),
    user: { uid: user.uid, gid: user.gid, additionalGids: [...user.supplementalGroups] },
    image: toImage(config, image),
    createdAt: view.createdAtNs ?? 0n,
    ...toState(view.state),
  });
}

function fromSpec({ process, mounts, hooks = {} }: RuntimeSpec) {
  return {
    args: [...process.args],
    env: [...process.env],
    mounts: mounts.map(({ destination, type, source, options }) => ({
      destination,
      type,
      source,
      options: [...options],
    })),
    hooks: Object.fromEntries(
      Object.entries(hooks).map(([name, list]) => [name, list.map(toHook)]),
    ),
    rlimits: (process.rlimits ?? []).map(({ type, soft, hard }) => ({
      type,
      soft: BigInt(soft),
      hard: BigInt(hard),
    })),
  };
}

function toHook({ path, args = [], env, timeout }: SpecHook) {
  return compact({
    path,
    args: [...args],
    env: [...env],
    timeout: timeout === undefined ? undefined : { value: BigInt(timeout) },
  });
}

function toLinux({ linux, process }: RuntimeSpec, config: cri.ContainerConfig) {
  return compact({
    namespaces: linux.namespaces.map(({ type, path = "" }) => ({ type, path })),
    devices: linux.devices.map(toDevice),
    resources: toNriResources(linux.resources),
    oomScoreAdj: { value: BigInt(process.oomScoreAdj) },
    cgroupsPath: linux.cgroupsPath,
    seccompProfile: toSeccompProfile(config),
    seccompPolicy: linux.seccomp === undefined ? undefined : toNriSeccomp(linux.seccomp),
    sysctl: { ...linux.sysctl },
    netDevices: Object.fromEntries(
      Object.entries(linux.netDevices ?? {}).map(([key, { name = "" }]) => [key, { name }]),
    ),
  });
}

function toDevice({ path, type, major, minor, fileMode, uid, gid }: SpecDevice) {
  return {
    path,
    type,
    major: BigInt(major),
    minor: BigInt(minor),
    fileMode: { value: fileMode },
    uid: { value: uid },
    gid: { value: gid },
  };
}

/** The kinds have the same numbers in both protocols. */
function toSeccompProfile(config: cri.ContainerConfig) {
  const profile = config.linux?.securityContext?.seccomp;
  if (profile === undefined) return undefined;
  const { profileType, localhostRef } = profile;
  return { profileType: profileType as nri.SecurityProfile_ProfileType, localhostRef };
}

function toImage(config: cri.ContainerConfig, image: Image | undefined) {
  const name = config.image?.userSpecifiedImage || (config.image?.image ?? "");
  const digest = image?.repoDigests[0]?.split("@")[1] ?? "";
  return { name, digest, configDigest: image?.id ?? "" };
}

function toState(state: ContainerState | undefined) {
  const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_STOPPED } = nri.ContainerState;
  switch (state?.name) {
    case undefined:
      return { state: CONTAINER_CREATED };
    case "created":
      return { state: CONTAINER_CREATED, pid: state.pid };
    case "running":
      return { state: CONTAINER_RUNNING, pid: state.pid, startedAt: state.startedAtNs };
    case "exited":
      return {
        state: CONTAINER_STOPPED,
        startedAt: state.startedAtNs ?? 0n,
        finishedAt: state.finishedAtNs,
        exitCode: state.exitCode,
        statusReason: state.reason,
        statusMessage: state.message,
      };
  }
}
