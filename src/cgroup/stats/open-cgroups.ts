import { existsSync, readFileSync } from "node:fs";
import type { CgroupHost } from "../host.ts";
import { CpuRate } from "./cpu-rate.ts";
import { type CgroupDetails, readDetails } from "./details.ts";
import { CgroupFiles, OpenFileBudget } from "./files.ts";
import { listHugePageSizes } from "./huge-pages.ts";
import { readProcesses } from "./processes.ts";
import { type CgroupUsage, readUsage } from "./usage.ts";

/** A reading, and the CPU use since the one before. */
export interface CgroupReading extends CgroupUsage {
  /** Nanoseconds of CPU time a second; absent at the first reading. */
  readonly nanoCores: bigint | undefined;
}

// Eight files a container: stats of 500 containers without opening a file. The rest are opened for each reading.
const maxOpenFiles = 4000;
// Of containers whose end was not reported.
const maxCgroups = 4000;

interface OpenCgroup {
  readonly files: CgroupFiles;
  readonly rate: CpuRate;
}

/** Reads statistics of cgroups when asked, never by itself. Keeps descriptors of what it has read until `forget`. */
export class OpenCgroups implements Disposable {
  readonly #host: Pick<CgroupHost, "roots" | "unified">;
  readonly #budget: OpenFileBudget;
  readonly #hugePageSizes = listHugePageSizes();
  readonly #cgroups = new Map<string, OpenCgroup>();

  constructor(
    host: Pick<CgroupHost, "roots" | "unified">,
    options: { readonly maxOpenFiles?: number } = {},
  ) {
    this.#host = host;
    this.#budget = new OpenFileBudget(options.maxOpenFiles ?? maxOpenFiles);
  }

  /** What the kernel counts for cgroups of this node. */
  get accounts(): { readonly pressure: boolean; readonly hugePages: boolean } {
    return {
      pressure: this.#host.unified !== undefined && existsSync("/proc/pressure/cpu"),
      hugePages: hasHugePages(this.#host) && this.#hugePageSizes.length > 0,
    };
  }

  read(relative: string): CgroupReading {
    const { files, rate } = this.#open(relative);
    const usage = readUsage(files);
    const nanoCores =
      usage.cpu === undefined ? undefined : rate.next(usage.cpu.usageNs, process.hrtime.bigint());
    return { ...usage, nanoCores };
  }

  readDetails(relative: string): CgroupDetails {
    return readDetails(this.#open(relative).files, this.#hugePageSizes);
  }

  /** Pids of what runs in it. */
  readProcesses(relative: string): readonly number[] {
    return readProcesses(this.#open(relative).files);
  }

  /** The cgroup has ended, or is about to: its files are closed. Idempotent. */
  forget(relative: string): void {
    this.#cgroups.get(relative)?.files[Symbol.dispose]();
    this.#cgroups.delete(relative);
  }

  #open(relative: string): OpenCgroup {
    const known = this.#cgroups.get(relative);
    if (known !== undefined) return known;
    const [oldest] = this.#cgroups.keys();
    if (this.#cgroups.size >= maxCgroups && oldest !== undefined) this.forget(oldest);
    const files = new CgroupFiles(this.#host, relative, this.#budget);
    const opened = { files, rate: new CpuRate() };
    this.#cgroups.set(relative, opened);
    return opened;
  }

  [Symbol.dispose](): void {
    for (const relative of [...this.#cgroups.keys()]) this.forget(relative);
  }
}

/** Version 2 has a controller in a cgroup only where it is handed down to it. */
function hasHugePages({ roots, unified }: Pick<CgroupHost, "roots" | "unified">): boolean {
  const root = roots.get("hugetlb");
  if (root === undefined || root !== unified) return root !== undefined;
  return readFileSync(`${root}/cgroup.subtree_control`, "latin1").split(/\s/).includes("hugetlb");
}
