import { readFileSync } from "node:fs";

const everyMs = 100;

/** Looks again and again at what a process and its descendants take together (proportional set size), and keeps the most. */
export class MemoryWatch implements Disposable {
  peakMegabytes = 0;
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
    const kilobytes = descendants(this.#pid).map(proportionalKilobytes);
    const all = kilobytes.reduce((a, b) => a + b, 0) / 1024;
    this.peakMegabytes = Math.max(this.peakMegabytes, all);
  }
}

function descendants(pid: number): readonly number[] {
  const children = readOr(`/proc/${pid}/task/${pid}/children`, "").trim();
  const pids = children === "" ? [] : children.split(" ").map(Number);
  return [pid, ...pids.flatMap(descendants)];
}

function proportionalKilobytes(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readOr(`/proc/${pid}/smaps_rollup`, ""))?.[1] ?? 0);
}

/** Processes end while one looks. */
function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}
