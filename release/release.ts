/**
 * Makes a release in dist/release: `npm run release`.
 *
 *   --arch ARCH        only amd64 or arm64
 *   --format FORMAT    only deb, rpm or apk
 *   --executable FILE  this one of this machine's processor, and do not build
 *   --output DIR       instead of dist/release
 */
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cached, repository } from "../embed/cache.ts";
import { run } from "../embed/command.ts";
import { readPackage } from "../embed/parts/program.ts";
import { targetOf } from "../embed/target.ts";
import { buildNfpm, makePackage, packageFormats } from "./packages.ts";
import { makeSbom, sourcesOf } from "./sbom.ts";

const { values } = parseArgs({
  options: {
    arch: { type: "string", multiple: true },
    format: { type: "string", multiple: true },
    executable: { type: "string" },
    output: { type: "string", default: join(repository, "dist/release") },
  },
});

const { version } = await readPackage();
const output = resolve(values.output);
await rm(output, { recursive: true, force: true });
await mkdir(output, { recursive: true });
const work = await mkdtemp(join(tmpdir(), "crib-release-"));
try {
  await release();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function release(): Promise<void> {
  const seconds = (await run(["git", "log", "-1", "--format=%ct"], { cwd: repository })).trim();
  const at = new Date(Number(seconds) * 1000);
  const data = join(work, "data");
  const runnable = values.executable ?? join(repository, "dist/crib");
  if (values.executable === undefined) await build(targetOf().arch, runnable);
  const env = { CRIB_DATA: data, CRIB_SOCKET: "unix:///nonexistent" };
  const { parts } = JSON.parse(await run([runnable, "version", "--output=json"], { env }));

  const notices = join(output, "LICENCES");
  await copyFile(await noticesIn(data), notices);
  const sources = join(output, "SOURCES.md");
  await Bun.write(sources, sourcesOf(parts));
  await Bun.write(join(output, "crib.cdx.json"), await makeSbom(version, parts, at));
  const changelog = join(repository, "CHANGELOG.md");
  await Bun.write(join(output, "RELEASE_NOTES.md"), await releaseNotes(changelog));

  const goSum = await Bun.file(join(import.meta.dir, "go.sum")).text();
  const nfpm = join(
    await cached("nfpm", [goSum], (directory) => buildNfpm(join(directory, "nfpm"))),
    "nfpm",
  );
  for (const name of values.arch ?? ["amd64", "arm64"]) {
    const { arch, isNative } = targetOf(name);
    const executable = join(output, `crib-${version}-linux-${arch}`);
    if (isNative) await copyFile(runnable, executable);
    else await build(arch, executable);
    const input = { version, arch, at, executable, runnable, notices, sources, changelog };
    for (const format of packageFormats.filter((one) => values.format?.includes(one) ?? true)) {
      const places = { work: join(work, `${arch}-${format}`), directory: output };
      await mkdir(places.work);
      console.log(await makePackage(nfpm, format, input, places));
    }
  }
  await writeChecksums();
}

async function build(arch: string, file: string): Promise<void> {
  const argv = [process.execPath, "embed/build.ts", "--arch", arch, "--output", file];
  await run(argv, { cwd: repository });
}

/** The executable unpacks its payload where it keeps its data, under a name of its contents. */
async function noticesIn(data: string): Promise<string> {
  const names = await readdir(data, { recursive: true });
  const found = names.find((name) => name.endsWith("/NOTICES"));
  if (found === undefined) throw new Error(`no NOTICES in ${data}`);
  return join(data, found);
}

/** The changelog's part about this version, after what is not in a version yet. */
async function releaseNotes(changelog: string): Promise<string> {
  const sections = (await Bun.file(changelog).text()).split(/^## /m).slice(1);
  const own = sections.filter((section) => {
    const title = section.split("\n", 1)[0] ?? "";
    return title.startsWith("Unreleased") || title.replace("[", "").startsWith(version);
  });
  const texts = own.map((section) => section.slice(section.indexOf("\n")).trim());
  return `# crib ${version}\n\n${texts.filter((text) => text !== "").join("\n\n")}\n`;
}

async function writeChecksums(): Promise<void> {
  const names = (await readdir(output)).sort();
  const lines = await Promise.all(
    names.map(async (name) => {
      const bytes = await Bun.file(join(output, name)).bytes();
      return `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`;
    }),
  );
  await Bun.write(join(output, "SHA256SUMS"), lines.join(""));
}
