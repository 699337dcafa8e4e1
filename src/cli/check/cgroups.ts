import { type Finding, findingsOf } from "./finding.ts";
import { listMounts, type Node } from "./node.ts";

const finding = findingsOf("cgroups");

/** What a kubelet sets limits with; without one of them it refuses to start or a limit has no effect. */
const required = ["cpu", "cpuset", "memory", "pids"];
const useful = [
  ["io", "blkio", "no limits and no figures of block I/O"],
  ["hugetlb", "hugetlb", "no limits of huge pages"],
] as const;

/** What turns a controller on that was left out at boot, as Raspberry Pi OS leaves out memory. */
const bootOptions: Readonly<Record<string, string>> = {
  memory: "cgroup_enable=memory cgroup_memory=1",
  cpuset: "cgroup_enable=cpuset",
};

export function checkCgroups(node: Node): readonly Finding[] {
  const mounts = listMounts(node);
  const isUnified = mounts.some(
    ({ path, type }) => path === "/sys/fs/cgroup" && type === "cgroup2",
  );
  const v1Mounts = mounts.filter(({ type }) => type === "cgroup");
  if (!isUnified && v1Mounts.length === 0) {
    const what = "no cgroup file system is mounted on /sys/fs/cgroup";
    return [finding("version", "missing", what)];
  }
  const unified = node.read("/sys/fs/cgroup/cgroup.controllers") ?? "";
  const controllers = new Set(
    isUnified ? unified.trim().split(/\s+/) : v1Mounts.flatMap(({ options }) => options),
  );
  const version = isUnified ? 2 : 1;
  const isHybrid = !isUnified && mounts.some(({ type }) => type === "cgroup2");
  return [
    isUnified ? finding("version", "ok", "v2") : oldVersion(isHybrid),
    ...required.map((name) => checkRequired(node, name, controllers, version)),
    ...useful.map(([name, v1Name, why]) =>
      controllers.has(isUnified ? name : v1Name)
        ? finding(name, "ok", "there")
        : finding(name, "warning", `controller not there: ${why}`),
    ),
    ...(isUnified ? [] : [checkRequired(node, "devices", controllers, version)]),
  ];
}

function oldVersion(isHybrid: boolean): Finding {
  const name = isHybrid ? "v1 with an empty v2 (hybrid)" : "v1";
  const why = "kubelets from 1.35 on refuse it unless failCgroupV1 is false";
  return finding("version", "warning", `${name}: ${why}`);
}

function checkRequired(
  node: Node,
  name: string,
  controllers: ReadonlySet<string>,
  version: 1 | 2,
): Finding {
  if (controllers.has(name)) return finding(name, "ok", "there");
  const row = new RegExp(`^${name}\\t\\d+\\t\\d+\\t(\\d)`, "m");
  const enabled = row.exec(node.read("/proc/cgroups") ?? "")?.[1];
  const option = bootOptions[name];
  if (option !== undefined && enabled !== undefined && (enabled === "0" || version === 2)) {
    const where = "the kernel command line (Raspberry Pi: /boot/firmware/cmdline.txt)";
    return finding(name, "missing", `turned off at boot: add \`${option}\` to ${where} and reboot`);
  }
  const hint = enabled === "1" && version === 1 ? `mount it on /sys/fs/cgroup/${name}` : "";
  return finding(name, "missing", `controller not there${hint === "" ? "" : `: ${hint}`}`);
}
