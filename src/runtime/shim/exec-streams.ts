import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, constants, mkdirSync, openSync, rmSync } from "node:fs";
import { makeFifo } from "../../os/file/fifo.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import type { StreamOwner } from "../runtime.ts";

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;

export interface PipedStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/**
 * Named pipes for the streams of a process in a task: a shim opens them by their names. Those that nobody wants are
 * "", which is /dev/null. Disposing removes them and closes our ends that have not been taken.
 */
export class ExecStreams implements Disposable {
  readonly #dir: string;
  readonly #open = new DisposableStack();
  readonly #held = new DisposableStack();
  readonly execId: string;
  readonly names: { readonly stdin: string; readonly stdout: string; readonly stderr: string };
  readonly stdin: OwnedFd | undefined;
  readonly stdout: OwnedFd | undefined;
  readonly stderr: OwnedFd | undefined;

  constructor(bundleDir: string, wanted: PipedStreams, owner: StreamOwner | undefined) {
    this.execId = `exec-${randomBytes(8).toString("hex")}`;
    this.#dir = `${bundleDir}/${this.execId}`;
    // 0711: whose program it is may open its own streams again.
    mkdirSync(this.#dir, { mode: 0o711 });
    try {
      const make = (name: string, isWanted: boolean) => {
        const path = `${this.#dir}/${name}`;
        if (!isWanted) return "";
        makeFifo(path, 0o600);
        chmodSync(path, 0o600);
        if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
        return path;
      };
      this.names = {
        stdin: make("stdin", wanted.stdin),
        stdout: make("stdout", wanted.stdout),
        stderr: make("stderr", wanted.stderr),
      };
      // Both ways: it opens before the shim does.
      this.stdin = this.#openEnd(this.names.stdin, O_RDWR);
      this.stdout = this.#openOutput(this.names.stdout);
      this.stderr = this.#openOutput(this.names.stderr);
    } catch (err) {
      this[Symbol.dispose]();
      throw err;
    }
  }

  #openEnd(path: string, flags: number): OwnedFd | undefined {
    if (path === "") return undefined;
    return this.#open.use(new OwnedFd(openSync(path, flags | O_NONBLOCK)));
  }

  /** With a writer of ours: without any, a reader would see the end before the shim has come. */
  #openOutput(path: string): OwnedFd | undefined {
    const reader = this.#openEnd(path, O_RDONLY);
    if (reader !== undefined) {
      this.#held.use(new OwnedFd(openSync(path, O_WRONLY | O_NONBLOCK)));
    }
    return reader;
  }

  /** The shim has them: from now on the outputs end when nobody there writes any more. */
  release(): void {
    this.#held.dispose();
  }

  [Symbol.dispose](): void {
    this.#held.dispose();
    this.#open.dispose();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
