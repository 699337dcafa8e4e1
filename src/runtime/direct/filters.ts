import { createHash } from "node:crypto";
import type { SpecSeccomp } from "../../oci/runtime-spec.ts";
import { instructionBytes } from "../../os/bpf.ts";
import { Libseccomp } from "../../os/libseccomp.ts";
import { sealedFile } from "../../os/memfd.ts";
import type { OwnedFd } from "../../os/owned-fd.ts";
import { compileSeccomp } from "./seccomp-program.ts";

/** A compiled filter in a file in memory. */
export interface Filter {
  readonly file: OwnedFd;
  /** In instructions. */
  readonly length: number;
  readonly flags: number;
}

/** A node has a few: one for each set of capabilities with the default profile, and those of its administrator. */
const maxFilters = 200;

/** The filters of all profiles that were asked for: each takes 8 ms of CPU to compile, and is kept. */
export class Filters implements Disposable {
  readonly #libraryPath: string;
  readonly #open = new DisposableStack();
  readonly #filters = new Map<string, Filter | undefined>();
  #library: Libseccomp | undefined;

  constructor(libraryPath: string) {
    this.#libraryPath = libraryPath;
  }

  /** `undefined` for a profile that cannot be compiled here. The filter is valid until this is disposed. */
  get(profile: SpecSeccomp): Filter | undefined {
    const key = createHash("sha256").update(JSON.stringify(profile)).digest("hex");
    if (this.#filters.has(key)) return this.#filters.get(key);
    if (this.#filters.size >= maxFilters) return undefined;
    this.#filters.set(key, undefined); // also where compiling throws: it would do so again
    const filter = this.#compile(profile);
    this.#filters.set(key, filter);
    return filter;
  }

  #compile(profile: SpecSeccomp): Filter | undefined {
    this.#library ??= Libseccomp.open(this.#libraryPath);
    if (this.#library === undefined) return undefined;
    const program = compileSeccomp(this.#library, profile);
    if (program === undefined) return undefined;
    const { instructions, flags } = program;
    const file = this.#open.use(sealedFile("seccomp-filter", instructions));
    return { file, length: instructions.byteLength / instructionBytes, flags };
  }

  [Symbol.dispose](): void {
    this.#open.dispose();
  }
}
