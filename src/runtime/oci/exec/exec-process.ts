import { AppError } from "../../../lib/errors.ts";
import type { OwnedFd } from "../../../os/file/owned-fd.ts";
import { type ExitStatus, pidfdOpen } from "../../../os/process/pidfd.ts";
import { killTree, reapAll, sessionMembers, sessionOf } from "../../process-tree.ts";
import type { Reaper } from "../../reaper.ts";

/** Our child, which nobody else reaps: so the pid names it whether or not it has ended. Disposing it leaves it running. */
export class ExecProcess implements Disposable {
  readonly pid: number;
  readonly #pidfd: OwnedFd;
  readonly #reaper: Reaper;

  constructor(pid: number, reaper: Reaper) {
    this.pid = pid;
    this.#pidfd = pidfdOpen(pid);
    this.#reaper = reaper;
  }

  async ended(signal?: AbortSignal): Promise<ExitStatus> {
    const status = await this.#reaper.ended(this.#pidfd.fd, signal);
    if (status !== undefined) return status;
    throw new AppError("the command ended and nobody knows how", { kind: "internal" });
  }

  /** Kills it, and all that it started, when the signal aborts first. */
  async endedOrKilled(signal: AbortSignal): Promise<ExitStatus> {
    try {
      return await this.ended(signal);
    } catch (err) {
      await killProcess(this.pid);
      throw err;
    }
  }

  [Symbol.dispose](): void {
    this.#pidfd[Symbol.dispose]();
  }
}

/**
 * A child of ours with its descendants, and what has left the tree but not the session. That is this exec's own: we
 * started the runtime in a new one, and it may have made another. The process is not reaped yet, so the session's number
 * is still its own.
 */
export async function killProcess(pid: number): Promise<void> {
  const session = sessionOf(pid);
  const others = session === undefined ? [] : sessionMembers(session).filter((it) => it !== pid);
  await reapAll([pid, ...others].flatMap(killTree));
}
