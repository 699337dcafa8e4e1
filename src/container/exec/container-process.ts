import { readFile } from "node:fs/promises";
import { bundleOf } from "../../bundle/bundle.ts";
import { parseExact } from "../../lib/json.ts";
import type { RuntimeSpec, SpecProcess } from "../../oci/runtime-spec.ts";
import type { Container } from "../container.ts";

/** The process of the spec of containers in which something has been run, each kept as long as its container's record. */
export class ContainerProcesses {
  readonly #stateDir: string;
  readonly #processes = new WeakMap<Container, SpecProcess>();

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  async get(container: Container): Promise<SpecProcess> {
    const known = this.#processes.get(container);
    if (known !== undefined) return known;
    // We wrote that file: it is what it was.
    const text = await readFile(bundleOf(this.#stateDir, container.id).config, "utf8");
    const { process } = parseExact(text) as RuntimeSpec;
    this.#processes.set(container, process);
    return process;
  }
}
