/** A kubelet takes messages of up to 16 MiB: both streams of a command together stay below that. */
const maxBytes = 15 * 1024 * 1024 - 4096;
/** A kubelet reads less of what a probe says, and gets it whatever others write. */
const freeBytes = 64 * 1024;
/** Beyond that, of all commands together. */
const maxSharedBytes = 16 * 1024 * 1024;
/** Of the memory that this process may have: what is kept is copied some five times on its way to the client. */
const maxShare = 1 / 32;

/** What one command's output may take. */
export interface OutputBudget {
  /** How many of the bytes may be kept. */
  take(bytes: number): number;
}

/** Memory for what commands write: the probes of any pod could have much of the node's otherwise. */
export class OutputPool {
  #left: number;

  constructor(memoryBytes = process.constrainedMemory()) {
    this.#left = Math.min(maxSharedBytes, Math.floor(memoryBytes * maxShare));
  }

  /** What is taken comes back when the signal aborts: the output has been passed on then, or is dropped. */
  open(signal: AbortSignal): OutputBudget {
    let left = maxBytes;
    let free = freeBytes;
    let shared = 0;
    const end = () => {
      this.#left += shared;
      left = 0;
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    return {
      take: (bytes) => {
        const first = Math.min(bytes, left, free);
        const more = Math.min(bytes - first, left - first, this.#left);
        free -= first;
        shared += more;
        this.#left -= more;
        left -= first + more;
        return first + more;
      },
    };
  }
}
