import { readdir } from "node:fs/promises";
import { tryRun } from "./command.ts";
import type { Target } from "./target.ts";

/** Something the build cannot do without: how to tell that it is there, and how to get it. */
interface Need {
  readonly name: string;
  found(): Promise<boolean>;
  /** The Debian package that has it. */
  readonly debianPackage?: string;
  readonly advice?: string;
}

const oldestGo = [1, 26] as const;

const needsFor = (target: Target): readonly Need[] => [
  command("node", "nodejs"),
  {
    name: `go ${oldestGo.join(".")} or newer`,
    found: hasGo,
    advice: "install Go from the Go project's own packages",
  },
  ...(target.isNative ? ownCompiler : compilerFor(target)),
  command("pkg-config", "pkg-config"),
  command("patchelf", "patchelf"),
  { ...command("apt-get", "apt"), advice: "build on Debian or Ubuntu: crun comes as a package" },
  command("dpkg-deb", "dpkg"),
];

const ownCompiler: readonly Need[] = [
  command("gcc", "gcc"),
  library("gcc", "the static C library", "libc.a", "libc6-dev"),
  library("gcc", "libseccomp with headers", "libseccomp.a", "libseccomp-dev"),
];

/** Its libseccomp comes from a package that is only unpacked. */
function compilerFor({ arch, gcc, gccPackage, libcPackage }: Target): readonly Need[] {
  return [
    command(gcc, gccPackage),
    library(gcc, `the static C library for ${arch}`, "libc.a", libcPackage),
    command("npm", "npm"),
  ];
}

/** Makes sure that all is there: installs what is missing where that is allowed, otherwise says in one line what is. */
export async function checkNeeds(target: Target): Promise<void> {
  const needs = needsFor(target);
  let missing = await missingOf(needs);
  const packages = missing.flatMap(({ debianPackage }) => debianPackage ?? []);
  if (packages.length > 0 && canInstall()) {
    console.log(`  installing ${packages.join(" ")}`);
    if (!(await hasPackageLists())) await tryRun(["apt-get", "update", "--quiet"]);
    if ((await install(packages)) === undefined) {
      await tryRun(["apt-get", "update", "--quiet"]);
      await install(packages);
    }
    missing = await missingOf(needs);
  }
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name).join(", ");
  throw new Error(`missing: ${names} (${advice(missing)})`);
}

/** One line for each need: is it here? */
export async function printNeeds(target: Target): Promise<void> {
  const needs = needsFor(target);
  const missing = await missingOf(needs);
  for (const need of needs) {
    console.log(
      missing.includes(need)
        ? `missing  ${need.name} (${advice([need])})`
        : `found    ${need.name}`,
    );
  }
}

async function missingOf(needs: readonly Need[]): Promise<Need[]> {
  const found = await Promise.all(needs.map((need) => need.found()));
  return needs.filter((_, index) => !found[index]);
}

function advice(missing: readonly Need[]): string {
  const packages = missing.flatMap((need) => need.debianPackage ?? []);
  return [
    ...(packages.length > 0 ? [`apt-get install ${packages.join(" ")}`] : []),
    ...missing.flatMap((need) => need.advice ?? []),
  ].join("; ");
}

export function canInstall(): boolean {
  return process.getuid?.() === 0 && Bun.which("apt-get") !== null;
}

/** A new container image has none until `apt-get update`. */
async function hasPackageLists(): Promise<boolean> {
  const names = await readdir("/var/lib/apt/lists").catch(() => []);
  return names.some((name) => name.endsWith("_Packages") || name.endsWith("_Packages.lz4"));
}

async function install(packages: readonly string[]): Promise<string | undefined> {
  return await tryRun([
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    ...["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"],
    ...packages,
  ]);
}

function command(name: string, debianPackage: string): Need {
  return { name, debianPackage, found: async () => Bun.which(name) !== null };
}

/** A library for static linking; its `-dev` package brings the headers too. */
function library(gcc: string, name: string, file: string, debianPackage: string): Need {
  return {
    name,
    debianPackage,
    // gcc answers with a path when it finds the file, otherwise with the bare name.
    found: async () => (await tryRun([gcc, `-print-file-name=${file}`]))?.startsWith("/") ?? false,
  };
}

async function hasGo(): Promise<boolean> {
  // Asked here, in the module, because a Go that fetches the version a module wants answers with that one.
  const answer = await tryRun(["go", "env", "GOVERSION"], { cwd: import.meta.dir });
  const [, major, minor] = answer?.match(/^go(\d+)\.(\d+)/) ?? [];
  if (major === undefined || minor === undefined) return false;
  return (
    Number(major) > oldestGo[0] || (Number(major) === oldestGo[0] && Number(minor) >= oldestGo[1])
  );
}
