import { type Finding, findingsOf } from "./finding.ts";
import type { Node } from "./node.ts";

const finding = findingsOf("node");

const capSysAdmin = 21n;
const capSysResource = 24n;
const [enoughFiles, enoughInotifyInstances] = [65_536, 1024];
/** No node's clock is right that shows a time before this program was written. */
const earliest = new Date("2025-01-01T00:00:00Z");

export function checkLimits(node: Node): readonly Finding[] {
  return [
    checkRoot(node),
    checkSysResource(node),
    checkOpenFiles(node),
    checkInotify(node),
    checkSwap(node),
    checkClock(node),
    checkSecurityModules(node),
  ];
}

function hasCapability(node: Node, bit: bigint): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(node.read("/proc/self/status") ?? "")?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> bit) & 1n) === 1n;
}

function checkRoot(node: Node): Finding {
  return hasCapability(node, capSysAdmin)
    ? finding("privileges", "ok", "CAP_SYS_ADMIN")
    : finding("privileges", "missing", "not root here: the daemon needs CAP_SYS_ADMIN");
}

function checkSysResource(node: Node): Finding {
  if (hasCapability(node, capSysResource)) return finding("CAP_SYS_RESOURCE", "ok", "there");
  const what = "not there: OOM scores are not lowered and limits not raised; crib uses what it may";
  return finding("CAP_SYS_RESOURCE", "warning", what);
}

function checkOpenFiles(node: Node): Finding {
  const limits = node.read("/proc/self/limits") ?? "";
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? "0";
  const isEnough = hard === "unlimited" || Number(hard) >= enoughFiles;
  return isEnough
    ? finding("open files", "ok", `up to ${hard}`)
    : finding("open files", "warning", `up to ${hard}: low for many pods (LimitNOFILE=1048576)`);
}

function checkInotify(node: Node): Finding {
  const most = Number(node.read("/proc/sys/fs/inotify/max_user_instances") ?? "0");
  if (most >= enoughInotifyInstances) return finding("inotify", "ok", `${most} instances`);
  const key = "fs.inotify.max_user_instances";
  const what = `${most} instances: pods that watch files run out of them; sysctl ${key}=8192`;
  return finding("inotify", "warning", what);
}

function checkSwap(node: Node): Finding {
  const rows = (node.read("/proc/swaps") ?? "").trim().split("\n").slice(1);
  if (rows.length === 0) return finding("swap", "ok", "off");
  const what = "on: a kubelet refuses to start unless failSwapOn is false";
  return finding("swap", "warning", what);
}

function checkClock(node: Node): Finding {
  const now = node.now.toISOString();
  return node.now >= earliest
    ? finding("clock", "ok", now)
    : finding("clock", "missing", `${now}: no certificate is valid then; set the clock first`);
}

function checkSecurityModules(node: Node): Finding {
  const active = [
    ...(node.read("/sys/module/apparmor/parameters/enabled")?.trim() === "Y" ? ["AppArmor"] : []),
    ...selinux(node),
  ];
  const none = "neither AppArmor nor SELinux: pods that ask for their profiles do not get them";
  return finding("security modules", "ok", active.length === 0 ? none : active.join(", "));
}

function selinux(node: Node): readonly string[] {
  const enforce = node.read("/sys/fs/selinux/enforce")?.trim();
  if (enforce === undefined) return [];
  return [enforce === "1" ? "SELinux enforcing" : "SELinux permissive"];
}
