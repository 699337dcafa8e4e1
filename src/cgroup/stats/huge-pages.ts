import { readdirSync } from "node:fs";
import type { CgroupFiles } from "./files.ts";
import { parseNumber } from "./values.ts";

export interface HugePageUsage {
  /** As the kernel writes it: `2MB`. */
  readonly pageSize: string;
  readonly usageBytes: number;
  /** Absent on version 2. */
  readonly peakBytes: number | undefined;
}

/** `sizes` is what `listHugePageSizes` gave. Nothing where the controller is off. */
export function readHugePages(
  files: CgroupFiles,
  sizes: readonly string[],
): readonly HugePageUsage[] {
  const isUnified = files.isUnified("hugetlb");
  if (isUnified === undefined) return [];
  return sizes.flatMap((pageSize) => {
    const read = (name: string) =>
      parseNumber(files.read("hugetlb", `hugetlb.${pageSize}.${name}`));
    const usageBytes = read(isUnified ? "current" : "usage_in_bytes");
    if (usageBytes === undefined) return [];
    const peakBytes = isUnified ? undefined : read("max_usage_in_bytes");
    return [{ pageSize, usageBytes, peakBytes }];
  });
}

/** The sizes of huge pages that this node has, as cgroup files name them. */
export function listHugePageSizes(directory = "/sys/kernel/mm/hugepages"): readonly string[] {
  try {
    return readdirSync(directory).map(cgroupName);
  } catch {
    return [];
  }
}

/** `hugepages-2048kB` in /sys is `2MB` in a cgroup. */
function cgroupName(name: string): string {
  const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
  return kib >= 1 << 20 ? `${kib >> 20}GB` : kib >= 1024 ? `${kib >> 10}MB` : `${kib}KB`;
}
