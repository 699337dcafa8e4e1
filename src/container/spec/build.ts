import { invalidArgument } from "../../lib/errors.ts";
import type {
  RuntimeSpec,
  SpecDevice,
  SpecIntelRdt,
  SpecLinux,
  SpecProcess,
} from "../../oci/runtime-spec.ts";
import type { SandboxEnvironment } from "../environment.ts";
import type { ContainerSpecInput } from "./input.ts";
import { isCgroupWritable } from "./mount/cgroup-mount.ts";
import { rootfsPropagation, specMounts } from "./mount/mounts.ts";
import { specNamespaces } from "./namespaces.ts";
import { oomScoreAdj, processArgs, processCwd, processEnv } from "./process.ts";
import { toOciResources } from "./resources.ts";
import { resolveCapabilities } from "./security/capabilities.ts";
import { hiddenPaths } from "./security/paths.ts";
import { checkSameUserNamespace } from "./user-namespace.ts";

/** The newest that crun 1.8 takes; what we use of later versions are mount options, which it passes on or refuses. */
export const ociVersion = "1.0.2";

/**
 * config.json of a container: a pure function of what the client asked for, what the image says about its process,
 * and what was looked up before. Nothing else of an image gets in.
 */
export function buildContainerSpec(input: ContainerSpecInput): RuntimeSpec {
  const context = input.config.linux?.securityContext;
  checkSameUserNamespace(
    context?.namespaceOptions?.usernsOptions,
    input.environment.userNamespace?.ids,
  );
  checkPrivilege(input);
  const readonlyRootfs = context?.readonlyRootfs === true;
  return {
    ociVersion,
    ...specHostname(input.environment),
    process: specProcess(input),
    root: { path: input.rootfs, readonly: readonlyRootfs },
    mounts: specMounts({
      mounts: input.mounts,
      deviceMounts: input.cdi.mounts,
      environment: input.environment,
      privileged: context?.privileged === true,
      writableCgroup: isCgroupWritable(context, input.host),
      readonlyRootfs,
    }),
    ...(input.cdi.hooks === undefined ? {} : { hooks: input.cdi.hooks }),
    annotations: input.annotations,
    linux: specLinux(input),
  };
}

/**
 * The pod's namespace has it already. It is said again because not every runtime lets its containers see that: a kernel
 * of its own has a name of its own.
 */
export function specHostname({
  utsns,
  hostname,
}: Pick<SandboxEnvironment, "utsns" | "hostname">): Pick<RuntimeSpec, "hostname"> {
  return utsns === undefined || hostname === "" ? {} : { hostname };
}

/** The kubelet marks a pod that has a privileged container; nobody gets one into a pod that was not meant for it. */
function checkPrivilege({ config, environment }: ContainerSpecInput): void {
  if (config.linux?.securityContext?.privileged !== true) return;
  if (environment.config.linux?.securityContext?.privileged === true) return;
  throw invalidArgument("privileged container in a sandbox that is not privileged");
}

function specProcess(input: ContainerSpecInput): SpecProcess {
  const { config, image, user, host } = input;
  const context = config.linux?.securityContext;
  return {
    terminal: config.tty,
    user: {
      uid: user.uid,
      gid: user.gid,
      additionalGids: [...new Set([...user.supplementalGroups, ...input.cdi.additionalGids])],
    },
    args: processArgs(config, image),
    env: processEnv(config, image, {
      hostname: input.environment.hostname,
      home: user.home,
      devices: input.cdi.env,
    }),
    cwd: processCwd(config, image),
    capabilities: resolveCapabilities(context, host.boundingCapabilities),
    noNewPrivileges: context?.noNewPrivs === true,
    rlimits: [{ type: "RLIMIT_NOFILE", ...host.openFiles }],
    oomScoreAdj: oomScoreAdj(config.linux?.resources?.oomScoreAdj, host),
    ...(input.apparmorProfile === undefined ? {} : { apparmorProfile: input.apparmorProfile }),
    ...(input.selinux === undefined ? {} : { selinuxLabel: input.selinux.process }),
  };
}

function specLinux(input: ContainerSpecInput): SpecLinux {
  const { config, host } = input;
  const { blockIO } = input.classes;
  const { netDevices } = input.cdi;
  const intelRdt = oneRdt(input.classes.intelRdt, input.cdi.intelRdt);
  const context = config.linux?.securityContext;
  const propagation = rootfsPropagation(input.mounts);
  return {
    namespaces: specNamespaces(context, input.environment, host),
    cgroupsPath: input.cgroupPath,
    resources: {
      ...toOciResources(config.linux?.resources, host.cgroupVersion, host),
      devices: [...input.devices.rules, ...input.cdi.devices.rules],
      ...(blockIO === undefined ? {} : { blockIO }),
    },
    devices: mergeNodes(input.devices.nodes, input.cdi.devices.nodes),
    ...hiddenPaths(context, host.cpuThermalPaths),
    ...(propagation === undefined ? {} : { rootfsPropagation: propagation }),
    ...(intelRdt === undefined ? {} : { intelRdt }),
    ...(netDevices === undefined ? {} : { netDevices }),
    ...(input.seccomp === undefined ? {} : { seccomp: input.seccomp }),
    ...(input.selinux === undefined ? {} : { mountLabel: input.selinux.mount }),
  };
}

/** A container is in one class. */
function oneRdt(
  named: SpecIntelRdt | undefined,
  ofDevice: SpecIntelRdt | undefined,
): SpecIntelRdt | undefined {
  if (named === undefined || ofDevice === undefined) return named ?? ofDevice;
  throw invalidArgument("an RDT class is named, and a CDI device wants another");
}

/** Of two at one place the later one is there. */
function mergeNodes(...lists: readonly (readonly SpecDevice[])[]): readonly SpecDevice[] {
  return [...new Map(lists.flat().map((node) => [node.path, node])).values()];
}
