import { constants, openSync } from "node:fs";
import { ifThere } from "../../os/errno-error.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import { type ExitStatus, findProcess, pidfdGetfd } from "../../os/process/pidfd.ts";
import { processStartTime } from "../../os/process/process-stat.ts";
import type { Reaper } from "../reaper.ts";
import type { CreatedContainer } from "./monitor-responses.ts";

export type EndReaper = Pick<Reaper, "ended" | "keep">;

/**
 * What the daemon keeps open of a live container, so that a killed monitor takes nothing with it: the process (its
 * exit status), the reading ends of its pipes (what it wrote last), its terminal and its stdin.
 */
export class HeldContainer implements Disposable {
  readonly #open = new DisposableStack();
  readonly #released = new AbortController();
  readonly terminal: OwnedFd | undefined;
  readonly #pidfd: OwnedFd | undefined;
  readonly #reaper: EndReaper;
  #end: Promise<ExitStatus | undefined> | undefined;
  #stdin: OwnedFd | undefined;

  constructor(created: CreatedContainer, dir: string, monitorPid: number, reaper: EndReaper) {
    this.#reaper = reaper;
    try {
      this.#pidfd = this.#own(openProcess(created));
      if (this.#pidfd !== undefined) this.#open.use(reaper.keep(created.pid));
      using monitor = findProcess(monitorPid);
      const duplicate = (fd: number | undefined) =>
        fd === undefined || monitor === undefined ? undefined : pidfdGetfd(monitor.fd, fd);
      this.terminal = this.#own(duplicate(created.terminalFd));
      this.#stdin = this.#own(duplicate(created.stdinFd));
      for (const name of ["stdout", "stderr"]) this.#own(openReader(`${dir}/${name}`));
    } catch (err) {
      this.#open.dispose();
      throw err;
    }
  }

  #own(fd: OwnedFd | undefined): OwnedFd | undefined {
    return fd === undefined ? undefined : this.#open.use(fd);
  }

  get stdin(): OwnedFd | undefined {
    return this.#stdin;
  }

  /** The monitor closes its own: the container sees the end of its input when nobody holds it open. */
  closeStdin(): void {
    this.#stdin?.[Symbol.dispose]();
    this.#stdin = undefined;
  }

  /**
   * How the process ended, as far as that can be known; "released" when it is not held any more by then. One result for
   * every monitor that is asked: who reaps a process gets its status, and on Linux before 6.15 nobody after that.
   */
  async ended(): Promise<ExitStatus | undefined | "released"> {
    if (this.#pidfd === undefined) return undefined;
    const { signal } = this.#released;
    this.#end ??= this.#reaper.ended(this.#pidfd.fd, signal);
    try {
      return await this.#end;
    } catch (err) {
      if (signal.aborted) return "released";
      throw err;
    }
  }

  [Symbol.dispose](): void {
    this.#released.abort();
    this.#open.dispose();
  }
}

/** `undefined` when it has ended and is reaped. */
function openProcess({ pid, startTime }: CreatedContainer): OwnedFd | undefined {
  const pidfd = findProcess(pid);
  if (pidfd === undefined) return undefined;
  const found = processStartTime(pid);
  if (found === startTime || found === undefined) return pidfd; // undefined: it is a zombie
  pidfd[Symbol.dispose]();
  return undefined;
}

/** A reader without writers: it keeps what is in the pipe, and lets everybody see the end. */
function openReader(path: string): OwnedFd | undefined {
  return ifThere(() => new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)));
}
