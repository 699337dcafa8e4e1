import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { directoriesOf } from "../../cgroup/directory.ts";
import type { CgroupHost } from "../../cgroup/host.ts";
import { parseExact } from "../../lib/json.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import type { TaskReference } from "../runtime.ts";
import { bundleFiles } from "./bundle-files.ts";
import type { DirectExec, PreparedExec } from "./direct/direct-exec.ts";

/** How to run commands without the runtime, by task; made when the first command of a task comes. */
export class PreparedExecs {
  readonly #direct: DirectExec;
  readonly #cgroup: CgroupHost;
  /** `undefined` for a task in which the runtime has to run them. */
  readonly #prepared = new Map<string, PreparedExec | undefined>();

  constructor(direct: DirectExec, cgroup: CgroupHost) {
    this.#direct = direct;
    this.#cgroup = cgroup;
  }

  async get(task: TaskReference): Promise<PreparedExec | undefined> {
    const { id, bundleDir, cgroupPath } = task;
    if (cgroupPath === undefined) return undefined;
    const known = this.#prepared.get(id);
    if (known === undefined ? this.#prepared.has(id) : this.#direct.isReady(known)) return known;
    // We wrote that file: it is what it was.
    const spec = parseExact(await readFile(bundleFiles(bundleDir).config, "utf8")) as RuntimeSpec;
    const cgroupFiles = directoriesOf(this.#cgroup, cgroupPath)
      .map((dir) => `${dir}/cgroup.procs`)
      .filter((path) => existsSync(path));
    const prepared = this.#direct.prepare(spec, { id, cgroupFiles });
    this.#prepared.set(id, prepared);
    return prepared;
  }

  forget(id: string): void {
    this.#prepared.delete(id);
  }
}
