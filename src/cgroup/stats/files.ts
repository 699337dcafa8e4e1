import { closeSync, existsSync, openSync } from "node:fs";
import { isErrno } from "../../os/errno-error.ts";
import { readKernelFile } from "../../os/file/kernel-file.ts";
import { directoriesOf, directoryFor } from "../directory.ts";
import type { CgroupHost } from "../host.ts";

/** How many files all cgroups together keep open; beyond it a file is opened for each reading. */
export class OpenFileBudget {
  #left: number;

  constructor(limit: number) {
    this.#left = limit;
  }

  take(): boolean {
    if (this.#left <= 0) return false;
    this.#left--;
    return true;
  }

  giveBack(count: number): void {
    this.#left += count;
  }
}

/**
 * The files of one cgroup. Each is opened when it is first asked for and kept open: reading it again takes a tenth
 * of opening it. The kernel makes the content anew for each reading from the beginning.
 */
export class CgroupFiles implements Disposable {
  readonly #host: Pick<CgroupHost, "roots" | "unified">;
  readonly #relative: string;
  readonly #budget: OpenFileBudget;
  /** By `controller/name`; the unified hierarchy's have no controller. */
  readonly #open = new Map<string, number>();

  constructor(
    host: Pick<CgroupHost, "roots" | "unified">,
    relative: string,
    budget: OpenFileBudget,
  ) {
    this.#host = host;
    this.#relative = relative;
    this.#budget = budget;
  }

  /** Whether the files of `controller` are those of cgroup version 2; `undefined` if the node has no such controller. */
  isUnified(controller: string): boolean | undefined {
    const root = this.#host.roots.get(controller);
    return root === undefined ? undefined : root === this.#host.unified;
  }

  /** Content of a file of a controller. `undefined`: the cgroup, the controller or the file is not there. */
  read(controller: string, name: string): string | undefined {
    return this.#read(controller, name);
  }

  /** The same of a file that every cgroup of version 2 has, beside the controllers of version 1 too. */
  readUnified(name: string): string | undefined {
    return this.#read("", name);
  }

  /** Where `controller` keeps its files of this cgroup. */
  directory(controller: string): string | undefined {
    return directoryFor(this.#host, controller, this.#relative);
  }

  #read(hierarchy: string, name: string): string | undefined {
    const key = `${hierarchy}/${name}`;
    try {
      const kept = this.#open.get(key);
      if (kept !== undefined) return readKernelFile(kept);
      const directory = hierarchy === "" ? this.#unifiedDirectory() : this.directory(hierarchy);
      const path = `${directory}/${name}`;
      // Asked first: an exception for each file that a node does not have would cost more than all the others.
      if (directory === undefined || !existsSync(path)) return undefined;
      const fd = openSync(path, "r");
      if (this.#budget.take()) {
        this.#open.set(key, fd);
        return readKernelFile(fd);
      }
      try {
        return readKernelFile(fd);
      } finally {
        closeSync(fd);
      }
    } catch (err) {
      if (!isAbsent(err)) throw err;
      // The cgroup has gone. Another may come in its place under the same name.
      this.#forget(key);
      return undefined;
    }
  }

  #unifiedDirectory(): string | undefined {
    const { unified } = this.#host;
    if (unified === undefined) return undefined;
    return directoriesOf({ hierarchies: [unified] }, this.#relative)[0];
  }

  #forget(key: string): void {
    const fd = this.#open.get(key);
    if (fd === undefined) return;
    this.#open.delete(key);
    this.#budget.giveBack(1);
    closeSync(fd);
  }

  [Symbol.dispose](): void {
    for (const key of [...this.#open.keys()]) this.#forget(key);
  }
}

/** ENODEV: removed while open. EOPNOTSUPP: the kernel was booted without pressure accounting, or a threaded cgroup. */
function isAbsent(err: unknown): boolean {
  return (["ENOENT", "ENOTDIR", "ENODEV", "EOPNOTSUPP"] as const).some((code) =>
    isErrno(err, code),
  );
}
