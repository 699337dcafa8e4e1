/** The processor that the executable is made for, and what others call it. */
export interface Target {
  /** As Debian, Go and OCI images have it. */
  readonly arch: Arch;
  /** This machine's own: made with its own compilers, and what was made can be tried. */
  readonly isNative: boolean;
  readonly bun: { readonly target: string; readonly package: string };
  /** glibc's dynamic loader. */
  readonly loader: string;
  readonly gcc: string;
  /** Debian's packages of a compiler for it, where it is not native. */
  readonly gccPackage: string;
  readonly libcPackage: string;
  /** Set for Go where it is not native. */
  readonly goEnv: Readonly<Record<string, string>>;
  /** Keeps apart in the cache what is made for this machine and for others. */
  readonly suffix: string;
}

export type Arch = "amd64" | "arm64";

const names = {
  amd64: {
    bun: { target: "bun-linux-x64", package: "@oven/bun-linux-x64" },
    loader: "ld-linux-x86-64.so.2",
    gcc: "x86_64-linux-gnu-gcc",
    gccPackage: "gcc-x86-64-linux-gnu",
  },
  arm64: {
    bun: { target: "bun-linux-arm64", package: "@oven/bun-linux-aarch64" },
    loader: "ld-linux-aarch64.so.1",
    gcc: "aarch64-linux-gnu-gcc",
    gccPackage: "gcc-aarch64-linux-gnu",
  },
} as const;

const own = process.arch === "x64" ? "amd64" : process.arch;

/** The machine's own processor unless `name` says another. */
export function targetOf(name: string = own): Target {
  if (name !== "amd64" && name !== "arm64") {
    throw new Error(`there is no build for ${name}: amd64 and arm64 only`);
  }
  const known = names[name];
  const libcPackage = `libc6-dev-${name}-cross`;
  if (name === own) {
    return { ...known, arch: name, isNative: true, gcc: "gcc", libcPackage, goEnv: {}, suffix: "" };
  }
  // Go leaves C out of what it compiles for another processor, unless told.
  const goEnv = { GOARCH: name, CC: known.gcc, CGO_ENABLED: "1" };
  return { ...known, arch: name, isNative: false, libcPackage, goEnv, suffix: `-${name}` };
}
