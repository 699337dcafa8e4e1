import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "./cache.ts";
import { run, tryRun } from "./command.ts";
import { canInstall } from "./needs.ts";
import type { Target } from "./target.ts";

/** A package as the machine's apt sources offer it. apt checks the signatures. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  /** Names of the packages it depends on; of alternatives the first. */
  readonly depends: readonly string[];
}

const packageLists = "/var/lib/apt/lists";

/** The packages and all that they depend on. Asked of apt again whenever its lists have changed. */
export async function packageClosure(
  target: Target,
  names: readonly string[],
): Promise<DebianPackage[]> {
  const inputs = [
    ...names,
    ...(await packageListInputs()),
    await Bun.file(import.meta.path).text(),
  ];
  const options = await aptOptions(target);
  const asked = await cached(`debian-${names[0]}${target.suffix}`, inputs, async (directory) => {
    const closure = await askClosure(options, names);
    await Bun.write(join(directory, "packages.json"), JSON.stringify(closure));
  });
  return await Bun.file(join(asked, "packages.json")).json();
}

/** Without what it depends on. */
export async function onlyPackage(target: Target, name: string): Promise<DebianPackage[]> {
  return (await packageClosure(target, [name])).filter((each) => each.name === name);
}

/**
 * What makes apt speak of another processor's packages: lists of its own, from the machine's sources, fetched again
 * whenever the machine's lists have changed. The machine itself hears nothing of that processor.
 */
async function aptOptions(target: Target): Promise<readonly string[]> {
  if (target.isNative) return [];
  const optionsFor = (directory: string) => {
    const settings = {
      "APT::Architecture": target.arch,
      "APT::Architectures::": target.arch,
      "APT::Sandbox::User": "root",
      "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
      "Dir::State": directory,
      "Dir::State::lists": join(directory, "lists"),
      "Dir::State::status": join(directory, "status"),
      "Dir::Cache": directory,
    };
    return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  };
  const inputs = await packageListInputs();
  const fetched = await cached(`apt${target.suffix}`, inputs, async (directory) => {
    await mkdir(join(directory, "lists/partial"), { recursive: true });
    await Bun.write(join(directory, "status"), "");
    await run(["apt-get", "update", "--quiet", ...optionsFor(directory)]);
  });
  return optionsFor(fetched);
}

async function packageListInputs(): Promise<string[]> {
  const lists = (await readdir(packageLists).catch(() => [])).sort();
  return await Promise.all(
    lists.map(async (name) => {
      const { size, mtimeMs } = await stat(join(packageLists, name));
      return `${name} ${size} ${mtimeMs}`;
    }),
  );
}

async function askClosure(
  options: readonly string[],
  names: readonly string[],
): Promise<DebianPackage[]> {
  const closure = new Map<string, DebianPackage>();
  let wanted = [...names];
  while (wanted.length > 0) {
    const found = await describePackages(options, wanted);
    for (const each of found) closure.set(each.name, each);
    wanted = [...new Set(found.flatMap(({ depends }) => depends))].filter((n) => !closure.has(n));
  }
  return [...closure.values()];
}

async function describePackages(
  options: readonly string[],
  names: readonly string[],
): Promise<DebianPackage[]> {
  const argv = ["apt-cache", ...options, "show", "--no-all-versions", ...names];
  let text = await tryRun(argv);
  if (text === undefined && options.length === 0 && canInstall()) {
    await run(["apt-get", "update", "--quiet"]);
    text = await run(argv);
  }
  if (text === undefined) {
    throw new Error(`apt knows no ${names.join(" or no ")} (apt-get update may help)`);
  }
  return text
    .split("\n\n")
    .filter((stanza) => stanza.trim() !== "")
    .map(parseStanza);
}

function parseStanza(stanza: string): DebianPackage {
  const field = (name: string) => stanza.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
  const required = (name: string) => {
    const value = field(name);
    if (value === undefined) throw new Error(`apt-cache show: no ${name} in ${stanza}`);
    return value;
  };
  return {
    name: required("Package"),
    version: required("Version"),
    sha256: required("SHA256"),
    depends: `${field("Pre-Depends") ?? ""},${field("Depends") ?? ""}`
      .split(",")
      .flatMap((alternatives) => alternatives.match(/[a-z0-9][a-z0-9+.-]*/)?.[0] ?? []),
  };
}

/** The packages' names, versions and digests, as inputs of `cached`. */
export function packageInputs(packages: readonly DebianPackage[]): string[] {
  return packages.map(({ name, version, sha256 }) => `${name} ${version} ${sha256}`).sort();
}

export function versionOf(packages: readonly DebianPackage[], name: string): string {
  const found = packages.find((each) => each.name === name);
  if (found === undefined) throw new Error(`${name} is not among the packages`);
  return found.version.replace(/^\d+:/, "");
}

/** Downloads the packages and unpacks them into one directory; nothing is installed. */
export async function unpackPackages(
  target: Target,
  packages: readonly DebianPackage[],
  directory: string,
): Promise<void> {
  const downloads = join(directory, "downloads");
  await mkdir(downloads, { recursive: true });
  await run(
    [
      ...["apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root"],
      ...(await aptOptions(target)),
      ...packages.map(({ name, version }) => `${name}=${version}`),
    ],
    { cwd: downloads },
  ).catch((cause: unknown) => {
    throw new Error("download Debian packages (apt-get update may help)", { cause });
  });
  for (const file of (await readdir(downloads)).sort()) {
    await run(["dpkg-deb", "--extract", join(downloads, file), directory]);
  }
}
