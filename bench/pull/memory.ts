import { descendants, readOr } from "./processes.ts";

const everyMs = 50;

/** Looks again and again at what a process and its descendants take together (proportional set size), and keeps the most. */
export class MemoryWatch implements Disposable {
  peakMegabytes = 0;
  /** What each took then, by its command line. */
  peak: readonly (readonly [command: string, megabytes: number])[] = [];
  readonly #pid: number;
  readonly #timer: Timer;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#look(), everyMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const own = commandOf(this.#pid);
    const each = descendants(this.#pid)
      .map((pid) => [commandOf(pid), proportionalMegabytes(pid)] as const)
      // A child that has not come to exec yet has its parent's memory, which would count twice.
      .filter(([command], i) => i === 0 || command !== own);
    const all = each.reduce((sum, [, megabytes]) => sum + megabytes, 0);
    if (all <= this.peakMegabytes) return;
    this.peakMegabytes = all;
    this.peak = each;
  }
}

/** `unpack write`: what tells the processes of one program apart. */
export function commandOf(pid: number): string {
  const [program = "", ...args] = readOr(`/proc/${pid}/cmdline`, "").split("\0");
  const words = args.filter((word) => /^[a-z]+$/.test(word)).slice(0, 2);
  return words.length > 0 ? words.join(" ") : program.slice(program.lastIndexOf("/") + 1);
}

function proportionalMegabytes(pid: number): number {
  const rollup = readOr(`/proc/${pid}/smaps_rollup`, "");
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024;
}
