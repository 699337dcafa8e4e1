import { abortable } from "../lib/keyed-mutex.ts";
import { isErrno } from "../os/errno-error.ts";
import { type ExitStatus, exitInfo, pidfdSendSignal, reap } from "../os/pidfd.ts";

/** SIGCHLD is merged while pending, and a process that is not our child sends none. */
const pollMs = 500;

interface Waiter {
  readonly pidfd: number;
  readonly resolve: (status: ExitStatus | undefined) => void;
}

/**
 * Tells how processes ended that Bun did not start: orphans that came to the daemon because it is a sub-reaper
 * (execs, containers of a killed monitor). Reaps exactly the processes it is asked about.
 */
export class Reaper implements Disposable {
  readonly #waiters = new Set<Waiter>();
  readonly #check = () => this.#ask();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    process.on("SIGCHLD", this.#check);
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

  #ask(): void {
    for (const waiter of this.#waiters) {
      const answer = askEnd(waiter.pidfd);
      if (answer === "running") continue;
      this.#remove(waiter);
      waiter.resolve(answer === "unknown" ? undefined : answer);
    }
  }

  #remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  [Symbol.dispose](): void {
    process.off("SIGCHLD", this.#check);
    clearInterval(this.#timer);
  }
}

/** Whether and how a process has ended; reaps it if it is our child. */
export function askEnd(pidfd: number): ExitStatus | "running" | "unknown" {
  try {
    return reap({ pidfd }) ?? "running";
  } catch (err) {
    if (!isErrno(err, "ECHILD")) throw err;
  }
  const status = exitInfo(pidfd);
  if (status !== undefined) return status;
  try {
    pidfdSendSignal(pidfd, 0);
    return "running"; // or a zombie that its parent has not reaped
  } catch (err) {
    if (isErrno(err, "ESRCH")) return "unknown";
    throw err;
  }
}
