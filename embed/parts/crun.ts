import { copyFile, realpath, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { cached } from "../cache.ts";
import { packageClosure, packageInputs, unpackPackages, versionOf } from "../debian.ts";
import { parseElf } from "../elf.ts";
import { usePrivateLibraries } from "../private-libraries.ts";
import type { Target } from "../target.ts";
import { notice } from "./go.ts";
import type { Part, PayloadFile } from "./part.ts";

/** What the Bun-compiled program asks for beside the loader; all of glibc. */
const programLibraries = ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"];

/**
 * crun from its Debian package, and one private C library for it and for the program. Nothing of the node's own is
 * loaded, so that the node's may be older, newer, another, or none.
 */
export async function fetchCrun(target: Target): Promise<Part> {
  const { loader } = target;
  const packages = await packageClosure(target, ["crun", "libc6"]);
  const recipes = [import.meta.path, join(import.meta.dir, "../private-libraries.ts")];
  const inputs = await Promise.all(recipes.map(async (path) => await Bun.file(path).text()));
  inputs.push(...packageInputs(packages));
  const built = await cached(`crun${target.suffix}`, inputs, async (directory) => {
    const root = join(directory, "root");
    await unpackPackages(target, packages, root);
    const crun = join(directory, "crun");
    await rename(join(root, "usr/bin/crun"), crun);

    const libraries = await libraryClosure(root, [loader, ...programLibraries], crun);
    for (const [name, path] of libraries) await copyFile(path, join(directory, name));
    await isolateLoader(join(directory, loader));
    await usePrivateLibraries(crun);

    await Bun.write(
      join(directory, "libraries.json"),
      JSON.stringify([...libraries.keys()].sort()),
    );
    await Bun.write(join(directory, "notices"), await copyrights(root));
    await rm(root, { recursive: true });
  });
  const names: string[] = await Bun.file(join(built, "libraries.json")).json();
  const files: PayloadFile[] = names.map((name) => ({
    path: `lib/${name}`,
    source: join(built, name),
    mode: name === loader ? "0555" : "0444",
  }));
  return {
    versions: { crun: versionOf(packages, "crun"), glibc: versionOf(packages, "libc6") },
    files: [...files, { path: "crun/crun", source: join(built, "crun"), mode: "0555" }],
    notices: join(built, "notices"),
  };
}

/** Name and file of every library that the executable and the named ones load, directly or through another. */
async function libraryClosure(
  root: string,
  names: readonly string[],
  executable: string,
): Promise<Map<string, string>> {
  const closure = new Map<string, string>();
  const wanted = [...names, ...(await neededBy(executable))];
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    if (closure.has(name)) continue;
    const found = await Array.fromAsync(
      new Bun.Glob(`**/lib/*-linux-gnu/${name}`).scan({ cwd: root, onlyFiles: false }),
    );
    if (found[0] === undefined) throw new Error(`no package has ${name}`);
    const path = await realpath(join(root, found[0]));
    closure.set(name, path);
    wanted.push(...(await neededBy(path)));
  }
  return closure;
}

async function neededBy(path: string): Promise<readonly string[]> {
  return parseElf(await Bun.file(path).bytes()).needed;
}

/** Blanks the node's files that the loader would read: libraries named there are made for the node's C library. */
async function isolateLoader(path: string): Promise<void> {
  const bytes = Buffer.from(await Bun.file(path).bytes());
  for (const name of ["/etc/ld.so.preload", "/etc/ld.so.cache"]) {
    const at = bytes.indexOf(`\0${name}\0`);
    if (at < 0) throw new Error(`${basename(path)} does not name ${name}`);
    bytes[at + 1] = 0;
  }
  await Bun.write(path, bytes);
}

async function copyrights(root: string): Promise<string> {
  const paths = await Array.fromAsync(
    new Bun.Glob("usr/share/doc/*/copyright").scan({ cwd: root, followSymlinks: true }),
  );
  const notices = await Promise.all(
    paths.sort().map(async (path) => {
      const name = path.split("/")[3] ?? "";
      return notice(`${name} (Debian)`, await Bun.file(join(root, path)).text());
    }),
  );
  return notices.join("");
}
