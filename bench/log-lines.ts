import { closeSync, openSync, readFileSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { type PodRequest, startPod } from "./pod.ts";

/** Lines of one length, numbered, in a file `lines` of `directory`, for containers to copy to their stdout. */
export class LogLines {
  readonly totalBytes: number;
  readonly #directory: string;
  readonly #count: number;
  readonly #lineBytes: number;

  constructor(directory: string, { count, lineBytes }: { count: number; lineBytes: number }) {
    this.#directory = directory;
    this.#count = count;
    this.#lineBytes = lineBytes;
    this.totalBytes = count * lineBytes;
    this.#write(`${directory}/lines`);
  }

  /**
   * A container copies the file to its stdout. Returns the seconds from its first entry in the log until the last one is
   * there; throws when the log is not what was written, line by line. `onEnd` is called when the last one is there.
   */
  async copy(request: PodRequest, onEnd: () => void = () => {}): Promise<number> {
    const { cri } = request;
    const pod = await startPod({
      ...request,
      command: ["cat", "/input/lines"],
      mounts: [{ hostPath: this.#directory, containerPath: "/input", readonly: true }],
    });
    const { status } = await cri.runtime.containerStatus({ containerId: pod.containerId });
    const path = status?.logPath ?? "";
    while (!endsWith(path, `${this.#line(this.#count - 1)}\n`)) await Bun.sleep(1);
    const ended = performance.timeOrigin + performance.now();
    onEnd();
    const began = this.#check(path);
    await cri.runtime.stopPodSandbox(pod);
    await cri.runtime.removePodSandbox(pod);
    rmSync(path);
    return (ended - began) / 1000;
  }

  /** The line without its end: its number, and padding. */
  #line(i: number): string {
    return String(i).padStart(this.#lineBytes - 1, ".");
  }

  /** Every line once, in its order, as an entry of its own. Returns when the first one was written. */
  #check(path: string): number {
    const log = readFileSync(path);
    let at = 0;
    for (let i = 0; i < this.#count; i++) {
      const end = log.indexOf(0x0a, at);
      const entry = log.toString("latin1", at, end);
      if (!entry.endsWith(` stdout F ${this.#line(i)}`)) {
        throw new Error(`${path}: line ${i}: ${entry}`);
      }
      at = end + 1;
    }
    if (at !== log.byteLength) throw new Error(`${path}: more than was written`);
    return Date.parse(log.toString("latin1", 0, log.indexOf(0x20)));
  }

  #write(path: string): void {
    const fd = openSync(path, "w");
    try {
      for (let i = 0; i < this.#count; ) {
        const end = Math.min(this.#count, i + 10_000);
        let text = "";
        for (; i < end; i++) text += `${this.#line(i)}\n`;
        writeSync(fd, text);
      }
    } finally {
      closeSync(fd);
    }
  }
}

function endsWith(path: string, text: string): boolean {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < text.length) return false;
  const fd = openSync(path, "r");
  try {
    const end = Buffer.alloc(text.length);
    readSync(fd, end, 0, text.length, size - text.length);
    return end.toString("latin1") === text;
  } finally {
    closeSync(fd);
  }
}
