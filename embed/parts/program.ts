import { dirname, join, resolve } from "node:path";
import { cached, embed, repository, sources } from "../cache.ts";
import { run } from "../command.ts";
import { parseElf } from "../elf.ts";
import { usePrivateLibraries } from "../private-libraries.ts";
import type { Target } from "../target.ts";
import { fetchBun } from "./bun.ts";
import { licencesIn, notice } from "./go.ts";
import type { Part } from "./part.ts";

/** The part of a package.json that matters here. */
interface Package {
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** What `crib` itself is: its version and the Bun that it must be compiled with. */
export async function readPackage(): Promise<{ readonly version: string; readonly bun: string }> {
  const { version, devDependencies } = await packageAt(repository);
  return { version, bun: devDependencies?.["bun"] ?? "" };
}

/** The TypeScript program, compiled by the Bun that runs this, with the versions of all parts inside. */
export async function buildProgram(
  target: Target,
  entry: string,
  version: string,
  versions: Readonly<Record<string, string>>,
): Promise<Part> {
  const main = resolve(entry);
  const inputs = [
    main,
    Bun.version,
    version,
    JSON.stringify(versions),
    ...(await sources(dirname(main), "**/!(*.test).ts")),
    ...(await sources(repository, "{package.json,bun.lock,tsconfig.json}")),
    ...(await sources(import.meta.dir, "program.ts")),
    ...(await sources(embed, "{private-libraries,target}.ts")),
  ];
  const other = target.isNative ? [] : await compileFor(target);
  const built = await cached(`program${target.suffix}`, inputs, async (directory) => {
    const output = join(directory, "crib");
    await run(
      [
        ...[
          process.execPath,
          "build",
          "--compile",
          "--minify",
          "--bytecode",
          "--splitting",
          "--format=esm",
        ],
        ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
        ...other,
        // Of CommonJS packages: else the path of this clone, by which two builds of one commit would differ.
        '--define=__dirname="/$bunfs/root"',
        `--define=CRIB_VERSION=${JSON.stringify(version)}`,
        `--define=CRIB_PARTS=${JSON.stringify(JSON.stringify(versions))}`,
        ...[`--outfile=${output}`, main],
      ],
      { cwd: repository },
    );
    await usePrivateLibraries(output);
    await Bun.write(join(directory, "notices"), await notices());
  });
  const program = join(built, "crib");
  const code = parseElf(await Bun.file(program).bytes()).section(".bun");
  if (code === undefined) throw new Error("the compiled program has no section .bun");
  return {
    versions: {},
    // Bun itself lies between its headers and the compiled code, and is the same in every build.
    files: [{ path: "crib", source: program, mode: "0555", seams: [1 << 20, code.offset] }],
    notices: join(built, "notices"),
  };
}

async function compileFor(target: Target): Promise<string[]> {
  const bun = await fetchBun(target);
  return [`--target=${target.bun.target}`, `--compile-executable-path=${bun}`];
}

async function notices(): Promise<string> {
  const texts = [
    notice(
      `Bun ${Bun.version}`,
      "MIT licence, with JavaScriptCore (LGPL-2) linked in; Bun's LICENSE.md lists all of it.",
    ),
  ];
  const modules = join(repository, "node_modules");
  const names = new Set(Object.keys((await packageAt(repository)).dependencies ?? {}));
  for (const name of names) {
    const directory = join(modules, name);
    const { version, dependencies } = await packageAt(directory);
    texts.push(await licencesIn(`${name} ${version}`, directory));
    for (const dependency of Object.keys(dependencies ?? {})) names.add(dependency);
  }
  return texts.join("");
}

async function packageAt(directory: string): Promise<Package> {
  return await Bun.file(join(directory, "package.json")).json();
}
