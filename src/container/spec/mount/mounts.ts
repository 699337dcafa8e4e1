import type { SpecLinux, SpecMount } from "../../../oci/runtime-spec.ts";
import type { SandboxEnvironment } from "../../environment.ts";
import type { ResolvedMount } from "./resolve.ts";

type PodFiles = Pick<
  SandboxEnvironment,
  "hostnamePath" | "hostsPath" | "resolvConfPath" | "shmPath" | "netns" | "userNamespace"
>;

/**
 * All mounts of a container, parents before children: the kernel's file systems, the pod's files, and what the
 * container asks for, which replaces the others at the same place. A mount of the container over a whole tree such as
 * /dev keeps the kernel's file systems out of that tree.
 */
export function specMounts(input: {
  readonly mounts: readonly ResolvedMount[];
  /** What CDI devices bring along. */
  readonly deviceMounts?: readonly SpecMount[];
  readonly environment: PodFiles;
  readonly privileged: boolean;
  readonly writableCgroup: boolean;
  readonly readonlyRootfs: boolean;
}): readonly SpecMount[] {
  const own = input.mounts.map(bindMount);
  const taken = new Set(own.map((mount) => mount.destination));
  const kernel = kernelMounts(input)
    .map((mount) => (mount.type === "sysfs" ? sysfs(mount, input) : mount))
    .filter((mount) => !prefixes(mount.destination).some((path) => taken.has(path)));
  const pod = podMounts(input.environment, input.readonlyRootfs).filter(
    (mount) => !taken.has(mount.destination),
  );
  return [...kernel, ...pod, ...own, ...(input.deviceMounts ?? [])].sort(
    (a, b) => depth(a.destination) - depth(b.destination),
  );
}

/** runc makes the root mount private by default; then no mount could come from the node or go to it. */
export function rootfsPropagation(
  mounts: readonly ResolvedMount[],
): SpecLinux["rootfsPropagation"] {
  const kinds = new Set(mounts.map((mount) => mount.propagation));
  if (kinds.has("rshared")) return "rshared";
  return kinds.has("rslave") ? "rslave" : undefined;
}

/** proc(5), sysfs(5), devices and cgroups; a privileged container may write to all of them. */
export function kernelMounts({
  privileged,
  writableCgroup,
}: {
  readonly privileged: boolean;
  readonly writableCgroup: boolean;
}): readonly SpecMount[] {
  const access = privileged ? "rw" : "ro";
  const safe = ["nosuid", "noexec", "nodev"];
  return [
    { destination: "/proc", type: "proc", source: "proc", options: safe },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: safe },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...safe, access] },
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: [...safe, "relatime", writableCgroup ? "rw" : "ro"],
    },
  ];
}

/**
 * The kernel mounts a sysfs for nobody but the owner of the network namespace that it shows. Where that is the node's and
 * the pod has a user namespace, the container sees the node's, with all below it as read-only as its own would be.
 */
function sysfs(
  own: SpecMount,
  { environment: { netns, userNamespace }, privileged }: SysfsInput,
): SpecMount {
  if (userNamespace === undefined || netns !== undefined) return own;
  const access = privileged ? "rw" : "rro";
  const options = ["rbind", "rprivate", "nosuid", "noexec", "nodev", access];
  return { destination: own.destination, type: "bind", source: "/sys", options };
}

interface SysfsInput {
  readonly environment: Pick<SandboxEnvironment, "netns" | "userNamespace">;
  readonly privileged: boolean;
}

/** What all containers of a pod share. The files follow the root file system: read-only with it. */
function podMounts(pod: PodFiles, readonlyRootfs: boolean): readonly SpecMount[] {
  const access = readonlyRootfs ? "ro" : "rw";
  const files = [
    ["/etc/hostname", pod.hostnamePath],
    ["/etc/hosts", pod.hostsPath],
    ["/etc/resolv.conf", pod.resolvConfPath],
  ] as const;
  return [
    ...files.map(([destination, source]) => bind(destination, source, ["rprivate", access])),
    bind("/dev/shm", pod.shmPath ?? "/dev/shm", ["rprivate", "rw", "nosuid", "nodev", "noexec"]),
  ];
}

function bindMount(mount: ResolvedMount): SpecMount {
  const { destination, source, options, idMappings } = mount;
  return { destination, type: "bind", source, options, ...idMappings };
}

function bind(destination: string, source: string, options: readonly string[]): SpecMount {
  return { destination, type: "bind", source, options: ["rbind", ...options] };
}

function depth(path: string): number {
  return path.split("/").length;
}

/** `/a/b` gives `/a` and `/a/b`. */
function prefixes(path: string): readonly string[] {
  const parts = path.split("/").slice(1);
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join("/")}`);
}
