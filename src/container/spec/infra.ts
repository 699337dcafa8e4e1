import type { RuntimeSpec, SpecMount } from "../../oci/runtime-spec.ts";
import type { SandboxEnvironment } from "../environment.ts";
import type { Annotations } from "./annotations.ts";
import { ociVersion, specHostname } from "./build.ts";
import { noDevices } from "./device/resolve.ts";
import type { SpecHost } from "./host.ts";
import { kernelMounts } from "./mount/mounts.ts";
import { podNamespaces } from "./namespaces.ts";
import { oomScoreAdj } from "./process.ts";
import { noCapabilities } from "./security/capabilities.ts";
import { defaultSeccomp } from "./security/default-seccomp.ts";
import { defaultHiddenPaths } from "./security/paths.ts";

export interface InfraSpecInput {
  /** An empty directory; it becomes the read-only root. */
  readonly rootfs: string;
  /** The static pause binary on the node. */
  readonly pausePath: string;
  readonly environment: SandboxEnvironment;
  /** The process has a kernel for itself: what the pod's containers share has to be there as well. */
  readonly isMachine: boolean;
  readonly annotations: Annotations;
  readonly cgroupPath: string;
  readonly host: SpecHost;
}

/** As the kubelet gives a sandbox: killed for memory only after everything else of the pod. */
const infraOomScoreAdj = -998n;
/** Nobody's id; the process needs no file. The last one of a pod that has fewer. */
const infraId = 65_535;

/** config.json of the process that holds a pod's PID namespace: it may do nothing but reap children. */
export function buildInfraSpec(input: InfraSpecInput): RuntimeSpec {
  const { host } = input;
  const ids = input.environment.userNamespace?.ids;
  const mounts = kernelMounts({ privileged: false, writableCgroup: false }).filter(
    ({ type }) => type === "proc" || type === "tmpfs",
  );
  const pause = {
    destination: "/pause",
    type: "bind",
    source: input.pausePath,
    options: ["bind", "rprivate", "ro", "nosuid", "nodev"],
  };
  return {
    ociVersion,
    ...specHostname(input.environment),
    process: {
      terminal: false,
      user: {
        uid: Math.min(infraId, (ids?.uids.length ?? Number.POSITIVE_INFINITY) - 1),
        gid: Math.min(infraId, (ids?.gids.length ?? Number.POSITIVE_INFINITY) - 1),
        additionalGids: [],
      },
      args: ["/pause"],
      env: ["PATH=/", "HOME=/"],
      cwd: "/",
      capabilities: noCapabilities,
      noNewPrivileges: true,
      oomScoreAdj: oomScoreAdj(infraOomScoreAdj, host),
    },
    root: { path: input.rootfs, readonly: true },
    mounts: [...mounts, pause, ...(input.isMachine ? sharedMounts(input.environment) : [])],
    annotations: input.annotations,
    linux: {
      ...(input.isMachine ? { sysctl: input.environment.config.linux?.sysctls ?? {} } : {}),
      namespaces: [{ type: "mount" }, { type: "pid" }, ...podNamespaces(input.environment)],
      cgroupsPath: input.cgroupPath,
      resources: { devices: noDevices.rules },
      devices: [],
      ...defaultHiddenPaths,
      seccomp: defaultSeccomp(noCapabilities, host.arch),
    },
  };
}

/** Where a machine finds what it shows its containers: their name server, and memory that they share. */
function sharedMounts({ resolvConfPath, shmPath }: SandboxEnvironment): readonly SpecMount[] {
  const bind = (destination: string, source: string, ...options: readonly string[]) => ({
    ...{ destination, source, type: "bind" },
    options: ["rbind", "rprivate", ...options],
  });
  return [
    bind("/etc/resolv.conf", resolvConfPath, "ro"),
    ...(shmPath === undefined ? [] : [bind("/dev/shm", shmPath, "rw")]),
  ];
}
