import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { bundleOf } from "../../bundle/bundle.ts";
import { directoriesOf } from "../../cgroup/directory.ts";
import type { CgroupHost } from "../../cgroup/host.ts";
import { parseExact } from "../../lib/json.ts";
import type { RuntimeSpec, SpecProcess } from "../../oci/runtime-spec.ts";
import type { DirectExec, PreparedExec } from "../../runtime/oci/direct/direct-exec.ts";
import type { RuntimeHandler } from "../../runtime/oci/handler.ts";
import type { Container } from "../container.ts";
import { getHandler } from "../handlers.ts";

/** What is the same for all commands in one container. */
export interface ExecTemplate {
  /** The process of the bundle's spec. */
  readonly process: SpecProcess;
  /** How to run commands without the runtime; absent where it has to run them. */
  readonly prepared: PreparedExec | undefined;
}

export interface ExecTemplatesOptions {
  readonly stateDir: string;
  readonly cgroup: CgroupHost;
  readonly handlers: ReadonlyMap<string, RuntimeHandler>;
  readonly direct: DirectExec | undefined;
}

/** The templates of containers in which something has been run, each kept as long as its container's record. */
export class ExecTemplates {
  readonly #options: ExecTemplatesOptions;
  readonly #templates = new WeakMap<Container, ExecTemplate>();

  constructor(options: ExecTemplatesOptions) {
    this.#options = options;
  }

  async get(container: Container): Promise<ExecTemplate> {
    const known = this.#templates.get(container);
    if (known !== undefined && this.#isReady(known)) return known;
    const template = await makeTemplate(container, this.#options);
    this.#templates.set(container, template);
    return template;
  }

  #isReady({ prepared }: ExecTemplate): boolean {
    return prepared === undefined || this.#options.direct?.isReady(prepared) === true;
  }
}

async function makeTemplate(
  { id, cgroupPath, handler }: Container,
  { stateDir, cgroup, handlers, direct }: ExecTemplatesOptions,
): Promise<ExecTemplate> {
  // We wrote that file: it is what it was.
  const text = await readFile(bundleOf(stateDir, id).config, "utf8");
  const spec = parseExact(text) as RuntimeSpec;
  if (!getHandler(handlers, handler).isOwnRunc) {
    return { process: spec.process, prepared: undefined };
  }
  const cgroupFiles = directoriesOf(cgroup, cgroupPath)
    .map((dir) => `${dir}/cgroup.procs`)
    .filter((path) => existsSync(path));
  return { process: spec.process, prepared: direct?.prepare(spec, { id, cgroupFiles }) };
}
