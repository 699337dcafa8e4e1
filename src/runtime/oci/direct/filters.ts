import { createHash } from "node:crypto";
import { readSync } from "node:fs";
import { stringifyExact } from "../../../lib/json.ts";
import type { SpecSeccomp } from "../../../oci/runtime-spec.ts";
import { sealedFile } from "../../../os/file/memfd.ts";
import type { OwnedFd } from "../../../os/file/owned-fd.ts";
import { instructionBytes } from "../../../os/security/bpf.ts";
import { Libseccomp } from "../../../os/security/libseccomp.ts";
import { compileSeccomp } from "./seccomp-program.ts";

/** A compiled filter in a file in memory. */
export interface Filter {
  /** Of the profile. */
  readonly key: string;
  readonly file: OwnedFd;
  /** In instructions. */
  readonly length: number;
  readonly flags: number;
}

/** A node has a few: one for each set of capabilities with the default profile, and those of its administrator. */
export const maxFilters = 200;

/** The filters that were used last: each takes 8 ms of CPU to compile. */
export class Filters implements Disposable {
  readonly #libraryPath: string;
  /** Least recently used first; none for a profile that cannot be compiled. */
  readonly #filters = new Map<string, Filter | undefined>();
  /** Most containers have the very same profile. */
  readonly #keys = new WeakMap<SpecSeccomp, string>();
  #library: Libseccomp | undefined;

  constructor(libraryPath: string) {
    this.#libraryPath = libraryPath;
  }

  /** `undefined` for a profile that cannot be compiled here. The filter is good while `renew` says so. */
  get(profile: SpecSeccomp): Filter | undefined {
    const key = this.#keys.get(profile) ?? keyOf(profile);
    this.#keys.set(profile, key);
    if (this.#filters.has(key)) return this.#use(key);
    this.#filters.set(key, undefined); // also where compiling throws: it would do so again
    for (const oldest of this.#filters.keys()) {
      if (this.#filters.size <= maxFilters) break;
      this.#filters.get(oldest)?.file[Symbol.dispose]();
      this.#filters.delete(oldest);
    }
    const filter = this.#compile(key, profile);
    this.#filters.set(key, filter);
    return filter;
  }

  /** It is used again. False when it had to make room for others. */
  renew(filter: Filter): boolean {
    return this.#filters.get(filter.key) === filter && this.#use(filter.key) === filter;
  }

  /** The program itself, an array of struct sock_filter. */
  instructions(profile: SpecSeccomp): Uint8Array | undefined {
    const filter = this.get(profile);
    return filter && instructionsOf(filter);
  }

  #use(key: string): Filter | undefined {
    const filter = this.#filters.get(key);
    this.#filters.delete(key);
    this.#filters.set(key, filter);
    return filter;
  }

  #compile(key: string, profile: SpecSeccomp): Filter | undefined {
    this.#library ??= Libseccomp.open(this.#libraryPath);
    if (this.#library === undefined) return undefined;
    const program = compileSeccomp(this.#library, profile);
    if (program === undefined) return undefined;
    const { instructions, flags } = program;
    const file = sealedFile("seccomp-filter", instructions);
    return { key, file, length: instructions.byteLength / instructionBytes, flags };
  }

  [Symbol.dispose](): void {
    for (const filter of this.#filters.values()) filter?.file[Symbol.dispose]();
    this.#filters.clear();
  }
}

function keyOf(profile: SpecSeccomp): string {
  return createHash("sha256").update(stringifyExact(profile)).digest("hex");
}

export function instructionsOf({ file, length }: Filter): Uint8Array {
  const instructions = Buffer.alloc(length * instructionBytes);
  const read = readSync(file.fd, instructions, 0, instructions.byteLength, 0);
  if (read !== instructions.byteLength) throw new RangeError("a seccomp filter is cut off");
  return instructions;
}
