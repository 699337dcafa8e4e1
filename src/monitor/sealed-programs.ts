import { readFileSync } from "node:fs";
import { ErrnoError, errno } from "../os/errno-error.ts";
import { sealedFile } from "../os/file/memfd.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import { spawnProcess } from "../os/process/spawn.ts";

type SpawnOptions = Omit<Parameters<typeof spawnProcess>[0], "path">;

/** Programs that are started from copies that nobody can change: a container may find one as /proc/self/exe. */
export class SealedPrograms {
  readonly #copies = new Map<string, OwnedFd>();

  /** The pid; the caller reaps it. Throws where the file cannot be read or started. */
  spawn(path: string, options: SpawnOptions): number {
    try {
      return this.#spawn(path, options);
    } catch (err) {
      // Somebody has it open for writing, which is of no use to him but to keep us from executing it.
      if (!(err instanceof ErrnoError) || err.errno !== errno.ETXTBSY) throw err;
      using _old = this.#copies.get(path);
      this.#copies.delete(path);
      return this.#spawn(path, options);
    }
  }

  #spawn(path: string, options: SpawnOptions): number {
    const copy = this.#copies.get(path) ?? sealedFile("create", readFileSync(path));
    this.#copies.set(path, copy);
    return spawnProcess({ ...options, path: `/proc/${process.pid}/fd/${copy.fd}` });
  }
}
