import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "./cache.ts";
import { run, tryRun } from "./command.ts";
import { canInstall } from "./needs.ts";

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
export async function packageClosure(names: readonly string[]): Promise<DebianPackage[]> {
  const inputs = [
    ...names,
    ...(await packageListInputs()),
    await Bun.file(import.meta.path).text(),
  ];
  const asked = await cached(`debian-${names[0]}`, inputs, async (directory) => {
    await Bun.write(join(directory, "packages.json"), JSON.stringify(await askClosure(names)));
  });
  return await Bun.file(join(asked, "packages.json")).json();
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

async function askClosure(names: readonly string[]): Promise<DebianPackage[]> {
  const closure = new Map<string, DebianPackage>();
  let wanted = [...names];
  while (wanted.length > 0) {
    const found = await describePackages(wanted);
    for (const each of found) closure.set(each.name, each);
    wanted = [...new Set(found.flatMap(({ depends }) => depends))].filter((n) => !closure.has(n));
  }
  return [...closure.values()];
}

async function describePackages(names: readonly string[]): Promise<DebianPackage[]> {
  const argv = ["apt-cache", "show", "--no-all-versions", ...names];
  let text = await tryRun(argv);
  if (text === undefined && canInstall()) {
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
  packages: readonly DebianPackage[],
  directory: string,
): Promise<void> {
  const downloads = join(directory, "downloads");
  await mkdir(downloads, { recursive: true });
  await run(
    [
      ...["apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root"],
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
