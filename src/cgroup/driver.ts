import { failedPrecondition } from "../lib/errors.ts";
import type { CgroupHost } from "./host.ts";

/** Who makes the cgroups of containers: the OCI runtime by mkdir, or systemd when asked over D-Bus. */
export type CgroupDriver = "cgroupfs" | "systemd";

/** `auto`: systemd where it runs the node, as the kubelet expects of both. The kubelet gets it by RuntimeConfig. */
export function detectDriver(
  configured: CgroupDriver | "auto",
  host: Pick<CgroupHost, "systemd">,
): CgroupDriver {
  if (configured === "auto") return host.systemd ? "systemd" : "cgroupfs";
  if (configured === "systemd" && !host.systemd) {
    throw failedPrecondition("cgroup driver systemd: systemd does not run this node");
  }
  return configured;
}
