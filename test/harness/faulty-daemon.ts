import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { Daemon } from "./daemon.ts";
import { payloadDir } from "./payload.ts";
import { tempDir } from "./temp-dir.ts";

export interface Fault {
  readonly step: string;
  readonly moment: "before" | "after";
  /** How often it is reached first without failing. */
  readonly skip: number;
}

/** A daemon run from source, in which one step of a call fails when a test wants it. */
export class FaultyDaemon implements AsyncDisposable {
  readonly daemon: Daemon;
  readonly #dir: string;
  readonly #resources: AsyncDisposableStack;

  private constructor(daemon: Daemon, dir: string, resources: AsyncDisposableStack) {
    this.daemon = daemon;
    this.#dir = dir;
    this.#resources = resources;
  }

  static async start(): Promise<FaultyDaemon> {
    await using rollback = new AsyncDisposableStack();
    const { path } = rollback.use(tempDir());
    const main = resolve(import.meta.dir, "faulty-main.ts");
    const program = `${path}/crib`;
    writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`);
    chmodSync(program, 0o755);
    const env = { CRIB_TEST_FAULTS: path, CRIB_PAYLOAD: payloadDir() };
    const daemon = rollback.use(await Daemon.start({ demoImage: true, executable: program, env }));
    return new FaultyDaemon(daemon, path, rollback.move());
  }

  /** When the step is reached next, by whatever call, it fails. */
  set(fault: Fault): void {
    writeFileSync(`${this.#dir}/fault`, JSON.stringify(fault));
  }

  /** Whether the fault has happened; it will not any more. */
  take(): boolean {
    const hasHappened = !existsSync(`${this.#dir}/fault`);
    rmSync(`${this.#dir}/fault`, { force: true });
    return hasHappened;
  }

  /** Names of the steps that calls have had so far, in order. */
  steps(): readonly string[] {
    return readFileSync(`${this.#dir}/steps`, "utf8").trim().split("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
