import { type Finding, findingsOf, type Level } from "./finding.ts";
import { type KernelConfig, type Presence, readKernelConfig } from "./kernel-config.ts";
import type { Node } from "./node.ts";

const finding = findingsOf("kernel");

const namespaces = ["mnt", "net", "pid", "ipc", "uts", "cgroup"];

export function checkKernel(node: Node): readonly Finding[] {
  const config = readKernelConfig(node);
  return [
    checkVersion(node.kernel),
    checkNamespaces(node),
    checkUserNamespaces(node),
    checkOverlay(node, config),
    checkSeccomp(node),
  ];
}

/** openat2 and pidfd_getfd come with 5.6, mount_setattr (recursive read-only mounts) with 5.12. */
function checkVersion(kernel: string): Finding {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number);
  const number = major * 1000 + minor;
  if (number < 5006) return finding("version", "missing", `${kernel}; crib needs 5.6 or newer`);
  if (number < 5012) {
    const why = "recursive read-only mounts need 5.12";
    return finding("version", "warning", `${kernel}; ${why}`);
  }
  return finding("version", "ok", kernel);
}

function checkNamespaces(node: Node): Finding {
  const there = node.list("/proc/self/ns");
  const lacking = namespaces.filter((kind) => !there.includes(kind));
  return lacking.length === 0
    ? finding("namespaces", "ok", namespaces.join(", "))
    : finding("namespaces", "missing", `the kernel has no ${lacking.join(", ")} namespace`);
}

function checkUserNamespaces(node: Node): Finding {
  const most = Number(node.read("/proc/sys/user/max_user_namespaces") ?? "0");
  if (node.list("/proc/self/ns").includes("user") && most > 0) {
    return finding("user namespaces", "ok", `up to ${most}`);
  }
  const why = "pods with hostUsers: false do not run; see sysctl user.max_user_namespaces";
  return finding("user namespaces", "warning", why);
}

function checkOverlay(node: Node, config: KernelConfig): Finding {
  if (/\toverlay$/m.test(node.read("/proc/filesystems") ?? "")) {
    return finding("overlay", "ok", "registered");
  }
  return presenceFinding("overlay", config.has("OVERLAY_FS", "overlay"), {
    level: "missing",
    why: "containers' file systems are overlay mounts",
    module: "overlay",
  });
}

function checkSeccomp(node: Node): Finding {
  const actions = node.read("/proc/sys/kernel/seccomp/actions_avail")?.trim();
  return actions !== undefined && node.read("/proc/self/status")?.includes("\nSeccomp:")
    ? finding("seccomp", "ok", "filters are there")
    : finding("seccomp", "warning", "no seccomp filters: pods that ask for RuntimeDefault fail");
}

/** How the presence of a kernel part reads; `level` is for when it is not there. */
export function presenceFinding(
  name: string,
  presence: Presence,
  part: { readonly level: Level; readonly why: string; readonly module: string },
  of = finding,
): Finding {
  switch (presence) {
    case "yes":
      return of(name, "ok", "in the kernel");
    case "module":
      return of(name, "ok", `module ${part.module}, loaded on demand`);
    case "unknown":
      return of(name, "warning", `cannot tell whether the kernel has it: ${part.why}`);
    case "no":
      return of(name, part.level, `not in this kernel: ${part.why}`);
  }
}
