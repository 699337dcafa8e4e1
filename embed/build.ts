/**
 * Makes dist/crib, the one file that users copy: `bun embed/build.ts`. README.md in this folder says what goes into it.
 *
 *   --arch ARCH     for another processor, amd64 or arm64: dist/crib-ARCH
 *   --print-needs   only tell what the build needs and whether it is here
 *   --entry FILE    compile FILE instead of src/main.ts
 *   --output FILE   write FILE instead of dist/crib
 */
import { chmod, mkdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { cached, embed, repository, secondsSince, sources } from "./cache.ts";
import { checkNeeds, printNeeds } from "./needs.ts";
import { buildCniPlugins } from "./parts/cni-plugins.ts";
import { fetchCrun } from "./parts/crun.ts";
import { buildDemoImage } from "./parts/demo-image.ts";
import { goBuild, goInputs, goNotices } from "./parts/go.ts";
import { fetchIsal } from "./parts/isal.ts";
import { buildLogFormatter } from "./parts/log-formatter.ts";
import type { PayloadFile } from "./parts/part.ts";
import { buildPause } from "./parts/pause.ts";
import { buildProgram, readPackage } from "./parts/program.ts";
import { buildRunc } from "./parts/runc.ts";
import { packPayload } from "./payload.ts";
import { type Target, targetOf } from "./target.ts";

async function build(target: Target, entry: string, output: string): Promise<void> {
  const startedAt = performance.now();
  const { version, bun } = await readPackage();
  if (Bun.version !== bun) {
    throw new Error(`this is Bun ${Bun.version}, not ${bun}: sh embed/bootstrap.sh installs it`);
  }
  await checkNeeds(target);

  const parts = [
    await buildRunc(target),
    await fetchCrun(target),
    await fetchIsal(target),
    await buildCniPlugins(target),
    await buildPause(target, version),
    await buildLogFormatter(target),
    await buildDemoImage(target),
  ];
  const versions = Object.assign({ crib: version, bun }, ...parts.map((part) => part.versions));
  parts.push(await buildProgram(target, entry, version, versions));
  const launcher = await buildLauncher(target);

  const files = [
    await joinNotices(target, [...parts, launcher]),
    ...parts.flatMap((part) => part.files),
  ];
  process.stdout.write("  compressing ...");
  const compressingSince = performance.now();
  const payload = await packPayload(files, { version, parts: versions }, target.loader);
  console.log(` ${secondsSince(compressingSince)}`);
  const launcherBytes = await Bun.file(launcher.path).bytes();
  await writeExecutable(output, Buffer.concat([launcherBytes, payload]));

  printSizes(files, launcherBytes.length + payload.length);
  console.log(`${output} is ready after ${secondsSince(startedAt)}`);
}

async function buildLauncher(
  target: Target,
): Promise<{ readonly path: string; readonly notices: string }> {
  const inputs = [
    ...(await goInputs(target)),
    ...(await sources(join(embed, "launcher"), "!(*_test).go")),
  ];
  const built = await cached(`launcher${target.suffix}`, inputs, async (directory) => {
    await goBuild(target, { from: "./launcher", output: join(directory, "launcher") });
    await Bun.write(join(directory, "notices"), await goNotices(target, "./launcher"));
  });
  return { path: join(built, "launcher"), notices: join(built, "notices") };
}

/** The licences of all parts in one file, as most of them demand of whoever copies them. */
async function joinNotices(
  target: Target,
  parts: readonly { readonly notices?: string }[],
): Promise<PayloadFile> {
  const texts = await Promise.all(
    parts.flatMap(({ notices }) => (notices === undefined ? [] : [Bun.file(notices).text()])),
  );
  const directory = await cached(`notices${target.suffix}`, texts, async (made) => {
    await Bun.write(join(made, "notices"), texts.join(""));
  });
  return { path: "NOTICES", source: join(directory, "notices"), mode: "0444" };
}

/** Never in place: the old one may be running. */
async function writeExecutable(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const fresh = `${path}.${process.pid}`;
  await Bun.write(fresh, bytes);
  await chmod(fresh, 0o755);
  await rename(fresh, path);
}

function printSizes(files: readonly PayloadFile[], total: number): void {
  const sizes = new Map<string, number>();
  for (const file of files) {
    if ("link" in file) continue;
    const name = file.path.split("/")[0] ?? file.path;
    sizes.set(name, (sizes.get(name) ?? 0) + Bun.file(file.source).size);
  }
  for (const [name, size] of sizes) console.log(`  ${megabytes(size)}  ${name}`);
  console.log(`  ${megabytes(total)}  in one file, compressed`);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1).padStart(7)} MB`;
}

/** `build runc: go build ... (exit 1): ...` */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`;
}

const { values } = parseArgs({
  options: {
    "print-needs": { type: "boolean", default: false },
    entry: { type: "string", default: join(repository, "src/main.ts") },
    arch: { type: "string" },
    output: { type: "string" },
  },
});
try {
  const target = targetOf(values.arch);
  if (values["print-needs"]) await printNeeds(target);
  else {
    const output = values.output ?? join(repository, `dist/crib${target.suffix}`);
    await build(target, values.entry, output);
  }
} catch (error) {
  console.error(`build: ${describe(error)}`);
  process.exit(1);
}
