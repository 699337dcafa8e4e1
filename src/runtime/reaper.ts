import { abortable } from "../lib/abortable.ts";
import { isErrno } from "../os/errno-error.ts";
import { isOwnChild } from "../os/process/own-child.ts";
import { type ExitStatus, exitInfo, reap, signalUnlessEnded } from "../os/process/pidfd.ts";
import { findEndedChild } from "../os/process/reap-any.ts";
import { childrenOf, isZombie } from "./process-tree.ts";

/** SIGCHLD is merged while pending, and a process that is not our child sends none. */
const pollMs = 500;

/** A zombie that nobody has asked for in this time is nobody's. */
const orphanMs = 200;

interface Waiter {
  readonly pidfd: number;
  readonly resolve: (status: ExitStatus | undefined) => void;
}

/**
 * Reports how processes ended that Bun did not start: orphans that came to the daemon because it is a sub-reaper
 * (execs, containers of a killed monitor). Orphans that nobody asks about it reaps a little later: while such a
 * zombie is there, the PID namespace that it belongs to, and so its container, cannot end.
 */
export class Reaper implements Disposable {
  readonly #waiters = new Set<Waiter>();
  readonly #kept = new Map<number, number>();
  readonly #coming = new Set<() => number>();
  readonly #check = () => this.#ask();
  readonly #onChild = () => {
    this.#ask();
    // Mostly it was somebody's who waits, and looking for others is dearer than a command.
    if (findEndedChild() !== undefined) this.#reapSoon();
  };
  #zombies: ReadonlySet<number> = new Set();
  #reaping: ReturnType<typeof setTimeout> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    process.on("SIGCHLD", this.#onChild);
  }

  /**
   * The status of a process when it has ended; `undefined` when it was another's child and the kernel (before 6.15)
   * cannot say. The descriptor stays open until this settles or the signal aborts.
   */
  async ended(pidfd: number, signal?: AbortSignal): Promise<ExitStatus | undefined> {
    const { promise, resolve } = Promise.withResolvers<ExitStatus | undefined>();
    const waiter = { pidfd, resolve };
    this.#waiters.add(waiter);
    // At once, not in a later microtask: the descriptor may be closed right after the abort.
    signal?.addEventListener("abort", () => this.#remove(waiter), { once: true });
    this.#timer ??= setInterval(this.#check, pollMs);
    this.#ask();
    try {
      return await abortable(promise, signal);
    } finally {
      this.#remove(waiter);
    }
  }

  /** Somebody will ask about this process, so it is no orphan, until what is returned is disposed. */
  keep(pid: number): Disposable {
    this.#kept.set(pid, (this.#kept.get(pid) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const count = (this.#kept.get(pid) ?? 1) - 1;
        if (count === 0) this.#kept.delete(pid);
        else this.#kept.set(pid, count);
        this.#reapSoon();
      },
    };
  }

  /** A child that is to come, and of which only `pid` will know (0 so far), is no orphan until what is returned is disposed. */
  keepComing(pid: () => number): Disposable {
    this.#coming.add(pid);
    return { [Symbol.dispose]: () => void this.#coming.delete(pid) };
  }

  #reapSoon(): void {
    this.#reaping ??= setTimeout(() => {
      this.#reaping = undefined;
      this.#reapOrphans();
    }, orphanMs);
  }

  /** Reaps what was a zombie at the last look, too. */
  #reapOrphans(): void {
    const come = new Set([...this.#coming].map((pid) => pid()));
    const zombies = childrenOf(process.pid).filter(
      (pid) => !this.#kept.has(pid) && !come.has(pid) && !isOwnChild(pid) && isZombie(pid),
    );
    const seen = this.#zombies;
    this.#zombies = new Set(zombies.filter((pid) => !seen.has(pid)));
    for (const pid of zombies) if (seen.has(pid)) reap({ pid });
    if (this.#zombies.size > 0) this.#reapSoon();
  }

  #ask(): void {
    for (const waiter of this.#waiters) {
      const end = askEnd(waiter.pidfd);
      if (end === "running") continue;
      this.#remove(waiter);
      waiter.resolve(end === "unknown" ? undefined : end);
    }
  }

  #remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  [Symbol.dispose](): void {
    process.off("SIGCHLD", this.#onChild);
    clearTimeout(this.#reaping);
    clearInterval(this.#timer);
  }
}

/** Whether and how a process has ended; reaps it if it is our child. */
function askEnd(pidfd: number): ExitStatus | "running" | "unknown" {
  try {
    return reap({ pidfd }) ?? "running";
  } catch (err) {
    if (!isErrno(err, "ECHILD")) throw err;
  }
  const status = exitInfo(pidfd);
  if (status !== undefined) return status;
  // Also a zombie takes signals until its parent reaps it.
  return signalUnlessEnded(pidfd, 0) ? "running" : "unknown";
}
