import type * as pb from "../../../gen/runtime/v1/api_pb.ts";

export interface HiddenPaths {
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
}

const defaultMasked = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

const defaultReadonly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

export const defaultHiddenPaths: HiddenPaths = {
  maskedPaths: defaultMasked,
  readonlyPaths: defaultReadonly,
};

/**
 * What of the kernel's file systems a container does not see or not write. A security context decides with its own
 * lists, also with empty ones (procMount: Unmasked); without any the container gets the defaults.
 */
export function hiddenPaths(
  context: pb.LinuxContainerSecurityContext | undefined,
  cpuThermalPaths: readonly string[],
): HiddenPaths {
  if (context === undefined) {
    return { ...defaultHiddenPaths, maskedPaths: [...defaultMasked, ...cpuThermalPaths] };
  }
  if (context.privileged) return { maskedPaths: [], readonlyPaths: [] };
  return { maskedPaths: context.maskedPaths, readonlyPaths: context.readonlyPaths };
}
