import { dlopen, type Pointer, ptr } from "bun:ffi";
import { fstatSync, readSync } from "node:fs";
import { AppError } from "../../lib/errors.ts";
import { ErrnoError, errno } from "../errno-error.ts";
import { memoryFile } from "../file/memfd.ts";
import { cstring, int32, uint32 } from "../libc.ts";

const symbols = {
  seccomp_init: { args: ["u32"], returns: "ptr" },
  seccomp_release: { args: ["ptr"], returns: "void" },
  seccomp_arch_add: { args: ["ptr", "u32"], returns: "int" },
  seccomp_attr_set: { args: ["ptr", "u32", "u32"], returns: "int" },
  seccomp_syscall_resolve_name_arch: { args: ["u32", "ptr"], returns: "int" },
  seccomp_rule_add_array: { args: ["ptr", "u32", "int", "u32", "ptr"], returns: "int" },
  seccomp_export_bpf: { args: ["ptr", "int"], returns: "int" },
} as const;

type Symbols = ReturnType<typeof dlopen<typeof symbols>>["symbols"];

const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const NO_SUCH_CALL = -1;

/** A comparison with the `index`-th argument; `op` is of enum scmp_compare. */
export interface SeccompComparison {
  readonly index: number;
  readonly op: number;
  readonly value: bigint;
  readonly valueTwo: bigint;
}

/** libseccomp, which makes programs of seccomp rules. */
export class Libseccomp {
  readonly #symbols: Symbols;

  private constructor(library: Symbols) {
    this.#symbols = library;
  }

  /** `undefined` where the library is missing. */
  static open(path: string): Libseccomp | undefined {
    try {
      return new Libseccomp(dlopen(path, symbols).symbols);
    } catch {
      return undefined;
    }
  }

  /** The number of a system call; negative for one that this architecture does not have by itself. */
  callNumber(arch: number, name: string): number | undefined {
    const text = cstring(name);
    const number = this.#symbols.seccomp_syscall_resolve_name_arch(uint32(arch), ptr(text));
    return number === NO_SUCH_CALL ? undefined : number;
  }

  /** seccomp_init(3): rules for the native architecture, so far none. */
  rules(defaultAction: number): SeccompRules {
    return new SeccompRules(this.#symbols, uint32(defaultAction));
  }
}

/** Rules to be compiled into one program. The library's names are in the manual's section 3. */
export class SeccompRules implements Disposable {
  readonly #symbols: Symbols;
  #context: Pointer | null;

  constructor(library: Symbols, defaultAction: number) {
    this.#symbols = library;
    this.#context = library.seccomp_init(defaultAction) as Pointer | null;
    if (this.#context === null) {
      throw new AppError("seccomp_init: no memory", { kind: "resource-exhausted" });
    }
  }

  /** One that is there already is good. */
  addArchitecture(arch: number): void {
    const result = this.#symbols.seccomp_arch_add(this.#context, uint32(arch));
    if (result !== -errno.EEXIST) refuse("arch_add", result);
  }

  /** A binary tree over the numbers instead of a list. */
  makeTree(): void {
    refuse("attr_set", this.#symbols.seccomp_attr_set(this.#context, SCMP_FLTATR_CTL_OPTIMIZE, 2));
  }

  add(action: number, call: number, comparisons: readonly SeccompComparison[]): void {
    // struct scmp_arg_cmp: two ints and two 64-bit values.
    const bytes = Buffer.alloc(Math.max(1, comparisons.length) * 24);
    for (const [i, { index, op, value, valueTwo }] of comparisons.entries()) {
      bytes.writeUInt32LE(index, i * 24);
      bytes.writeUInt32LE(op, i * 24 + 4);
      bytes.writeBigUInt64LE(value, i * 24 + 8);
      bytes.writeBigUInt64LE(valueTwo, i * 24 + 16);
    }
    const count = comparisons.length;
    refuse(
      "rule_add",
      this.#symbols.seccomp_rule_add_array(
        this.#context,
        uint32(action),
        int32(call),
        count,
        count === 0 ? null : ptr(bytes),
      ),
    );
  }

  /** An array of struct sock_filter. */
  compile(): Buffer {
    using file = memoryFile("seccomp-filter");
    refuse("export_bpf", this.#symbols.seccomp_export_bpf(this.#context, file.fd));
    const program = Buffer.alloc(fstatSync(file.fd).size);
    readSync(file.fd, program, 0, program.byteLength, 0);
    return program;
  }

  [Symbol.dispose](): void {
    if (this.#context !== null) this.#symbols.seccomp_release(this.#context);
    this.#context = null;
  }
}

/** These calls return a negative errno. */
function refuse(step: string, result: number): void {
  if (result < 0) throw new ErrnoError(`seccomp_${step}`, -result);
}
