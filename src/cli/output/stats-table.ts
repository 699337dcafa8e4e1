import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { formatSize } from "./format.ts";
import { formatTable } from "./table.ts";

/** Wide enough for what is likely, so that columns stand still while numbers change. */
const widths = { cpu: 6, size: 7, count: 5 } as const;

const header = [
  ...["NAME", "POD", "CPU %".padStart(widths.cpu)],
  ...["MEMORY", "LIMIT", "DISK"].map((title) => title.padStart(widths.size)),
  "PIDS".padStart(widths.count),
  ...["IN", "OUT"].map((title) => title.padStart(widths.size)),
];

/** Reads CPU time twice: the share of a core between the two responses, container by container. */
export class StatsTable {
  #before = new Map<string, pb.CpuUsage>();

  /** The table's lines, header first: running containers, by pod and name. CPU is unknown for those seen first. */
  next(pods: readonly pb.PodSandboxStats[]): readonly string[] {
    const seen = new Map<string, pb.CpuUsage>();
    const rows = pods
      .toSorted((a, b) => compare(a.attributes?.metadata, b.attributes?.metadata))
      .flatMap((pod) =>
        (pod.linux?.containers ?? [])
          .filter(({ cpu }) => cpu !== undefined)
          .toSorted((a, b) => compare(a.attributes?.metadata, b.attributes?.metadata))
          .map((container) => this.#row(pod, container, seen)),
      );
    this.#before = seen;
    return formatTable(header, rows);
  }

  #row(pod: pb.PodSandboxStats, container: pb.ContainerStats, seen: Map<string, pb.CpuUsage>) {
    const id = container.attributes?.id ?? "";
    const { cpu, memory, writableLayer } = container;
    if (cpu !== undefined) seen.set(id, cpu);
    const used = memory?.workingSetBytes?.value;
    const free = memory?.availableBytes?.value ?? 0n;
    const network = pod.linux?.network?.defaultInterface;
    const size = (bytes: bigint | undefined) =>
      (bytes === undefined ? "-" : formatSize(bytes)).padStart(widths.size);
    return [
      container.attributes?.metadata?.name ?? "",
      pod.attributes?.metadata?.name ?? "",
      formatCpu(this.#before.get(id), cpu).padStart(widths.cpu),
      size(used),
      // Without a limit nothing is available that could be counted.
      size(used === undefined || free === 0n ? undefined : used + free),
      size(writableLayer?.usedBytes?.value),
      String(pod.linux?.process?.processCount?.value ?? "-").padStart(widths.count),
      size(network?.rxBytes?.value),
      size(network?.txBytes?.value),
    ];
  }
}

/** 100 is one core. */
function formatCpu(before: pb.CpuUsage | undefined, now: pb.CpuUsage | undefined): string {
  const [first, last] = [before, now].map((usage) => usage?.usageCoreNanoSeconds?.value);
  const elapsed = (now?.timestamp ?? 0n) - (before?.timestamp ?? 0n);
  if (first === undefined || last === undefined || elapsed <= 0n) return "-";
  const used = last > first ? last - first : 0n;
  return ((Number(used) / Number(elapsed)) * 100).toFixed(1);
}

function compare(a: { readonly name: string } | undefined, b: typeof a): number {
  return (a?.name ?? "").localeCompare(b?.name ?? "");
}
