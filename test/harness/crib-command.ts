import { expect } from "bun:test";
import type { Daemon } from "./daemon.ts";
import { dataDir, executable } from "./payload.ts";
import { Received } from "./streams/received.ts";

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

/** The compiled executable's command line against one daemon. */
export class CribCommand {
  readonly #env: Readonly<Record<string, string>>;

  constructor(daemon: Daemon) {
    this.#env = {
      PATH: process.env["PATH"] ?? "",
      TERM: "xterm",
      CRIB_SOCKET: `unix://${daemon.socket}`,
      CRIB_DATA: dataDir,
    };
  }

  start(argv: readonly string[], stdin: "ignore" | "pipe" | Blob = "ignore") {
    const options = { env: this.#env, stdio: [stdin, "pipe", "pipe"] as const };
    return Bun.spawn([executable, ...argv], { ...options, stdio: [...options.stdio] });
  }

  async run(argv: readonly string[], stdin?: Blob): Promise<Finished> {
    const child = this.start(argv, stdin);
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { stdout, stderr, code };
  }

  /** The answer of a command that has to succeed. */
  async ok(...argv: readonly string[]): Promise<string> {
    const { stdout, stderr, code } = await this.run(argv);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    return stdout;
  }

  /** On a terminal of its own, 80 by 24. In `script`, `crib` is the executable. */
  typeInto(script: string): Typed {
    return new Typed(script.replace(/\bcrib(?= )/g, executable), this.#env);
  }
}

/** A shell script on a terminal, as a person sees and uses it. */
export class Typed implements AsyncDisposable {
  readonly screen = new Received();
  readonly #child: Bun.Subprocess;

  constructor(script: string, env: Readonly<Record<string, string>>) {
    this.#child = Bun.spawn(["/bin/sh", "-c", script], {
      env: { ...env },
      terminal: {
        cols: 80,
        rows: 24,
        data: (_terminal, data) => this.screen.push(Buffer.from(data)),
      },
    });
  }

  type(keys: string): void {
    this.#child.terminal?.write(keys);
  }

  resize(columns: number, rows: number): void {
    this.#child.terminal?.resize(columns, rows);
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    this.#child.terminal?.close();
  }
}
