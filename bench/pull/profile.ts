import { mkdtempSync, rmSync } from "node:fs";
import { printTable } from "../table.ts";
import { commandOf } from "./memory.ts";
import { descendants } from "./processes.ts";

const hertz = 997;
/** Less is not shown. */
const leastSeconds = 0.02;

/** Where the CPU time of a process, its descendants and the kernel's threads goes: a sampling of the whole machine by perf. */
export class Profile implements AsyncDisposable {
  readonly #pid: number;
  readonly #dir: string;
  readonly #perf: Bun.Subprocess;
  readonly #timer: Timer;
  readonly #commands = new Map<number, string>();

  private constructor(pid: number) {
    this.#pid = pid;
    this.#dir = mkdtempSync("/tmp/crib-profile-");
    const argv = ["perf", "record", "-q", "-a", "-g", "-F", String(hertz), "-o", this.#file];
    this.#perf = Bun.spawn(argv, { stdio: ["ignore", "ignore", "ignore"] });
    this.#timer = setInterval(() => this.#look(), 20);
  }

  static async start(pid: number): Promise<Profile> {
    const profile = new Profile(pid);
    // perf says nothing when it has begun.
    await Bun.sleep(500);
    return profile;
  }

  get #file(): string {
    return `${this.#dir}/perf.data`;
  }

  #look(): void {
    for (const pid of descendants(this.#pid)) {
      const command = commandOf(pid);
      // Before exec it is its parent.
      if (command !== "") this.#commands.set(pid, command);
    }
  }

  async print(): Promise<void> {
    clearInterval(this.#timer);
    this.#perf.kill("SIGINT");
    await this.#perf.exited;
    const argv = ["perf", "script", "-i", this.#file, "-F", "comm,pid,ip,sym,dso"];
    const script = Bun.spawnSync(argv, { stderr: "ignore", maxBuffer: 1 << 30 });
    const seconds = new Map<string, number>();
    for (const sample of script.stdout.toString().split("\n\n")) {
      const [head = "", ...frames] = sample.trim().split("\n");
      const who = this.#whose(head);
      if (who === undefined) continue;
      const key = `${who}\t${whatOf(frames)}`;
      seconds.set(key, (seconds.get(key) ?? 0) + 1 / hertz);
    }
    const rows = [...seconds]
      .filter(([, of]) => of >= leastSeconds)
      .sort(([, a], [, b]) => b - a)
      .map(([key, of]) => [...key.split("\t"), of.toFixed(2)]);
    printTable(["process", "what", "CPU s"], rows);
    console.log(
      `SHA-256 (in the program's own code) takes 1 s for ${sha256MegabytesPerSecond()} MB`,
    );
  }

  #whose(head: string): string | undefined {
    const [, comm = "", pid = ""] = /^(.*?)\s+(\d+)\s*$/.exec(head) ?? [];
    if (/^(?:kworker|loop|jbd2)/.test(comm)) return "write-back";
    return this.#commands.get(Number(pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#perf.kill("SIGKILL");
    await this.#perf.exited;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** The system call that a sample is in, or the file whose code runs. */
function whatOf(frames: readonly string[]): string {
  const call = frames.map((frame) => /(?:__x64_sys|ksys)_(\w+)/.exec(frame)?.[1]).find(Boolean);
  if (call !== undefined) return call.replace(/^(?:p?write|pwrite64)$/, "write");
  if (frames.some((frame) => frame.includes("asm_exc_page_fault"))) return "page faults";
  const file = /\(([^()]*)\)\s*$/.exec(frames[0] ?? "")?.[1] ?? "";
  if (file.includes("kernel")) return "kernel, other";
  if (file.includes("JIT") || file.endsWith(".map")) return "JavaScript";
  return file.slice(file.lastIndexOf("/") + 1);
}

function sha256MegabytesPerSecond(): string {
  const bytes = new Uint8Array(256 << 20);
  const begun = performance.now();
  Bun.CryptoHasher.hash("sha256", bytes);
  return (256 / ((performance.now() - begun) / 1000)).toFixed(0);
}
