import { copyFile, mkdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../embed/command.ts";
import { type NodeFile, nodeFiles, paths } from "../src/install/node-files.ts";

export const packageFormats = ["deb", "rpm", "apk"] as const;
export type PackageFormat = (typeof packageFormats)[number];

export interface PackageInput {
  readonly version: string;
  readonly arch: "amd64" | "arm64";
  /** Of the commit: every file has this time, so that packages are the same each time they are made. */
  readonly at: Date;
  readonly executable: string;
  /** One of this machine's processor, which writes manual pages, completions and the default configuration. */
  readonly runnable: string;
  readonly notices: string;
  readonly sources: string;
  readonly changelog: string;
}

const here = import.meta.dir;
const summary = "Kubernetes container runtime in one file";
const executablePath = "/usr/bin/crib";

/** nfpm, at the version of go.mod. */
export async function buildNfpm(output: string): Promise<void> {
  const argv = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", output];
  await run([...argv, "github.com/goreleaser/nfpm/v2/cmd/nfpm"], {
    cwd: here,
    env: { CGO_ENABLED: "0" },
  });
}

/** Makes one package in `directory` and returns its path. `work` takes what goes into it. */
export async function makePackage(
  nfpm: string,
  format: PackageFormat,
  input: PackageInput,
  { work, directory }: { readonly work: string; readonly directory: string },
): Promise<string> {
  const contents = await layOut(format, input, work);
  const config = {
    name: "crib",
    arch: input.arch,
    platform: "linux",
    version: input.version,
    release: "1",
    section: "admin",
    priority: "optional",
    maintainer: "crib maintainers <crib@localhost>",
    // An .apk has one line for it.
    description: `${summary}${format === "apk" ? "" : "\n CRI server, image puller and OCI runtime."}`,
    license: "Apache-2.0",
    mtime: input.at.toISOString(),
    contents,
    scripts: await placeScripts(input.at, work),
    recommends: ["iptables"],
    rpm: {
      buildhost: "localhost",
      group: "System Environment/Daemons",
      summary,
      compression: "gzip:1",
    },
    // The executable is compressed already.
    deb: { compression: "none" },
  };
  const file = join(work, `${format}.yaml`);
  await Bun.write(file, JSON.stringify(config, undefined, 2));
  const names = {
    deb: `crib_${input.version}_${input.arch}.deb`,
    rpm: `crib-${input.version}-1.${{ amd64: "x86_64", arm64: "aarch64" }[input.arch]}.rpm`,
    apk: `crib_${input.version}_${{ amd64: "x86_64", arm64: "aarch64" }[input.arch]}.apk`,
  };
  const target = join(directory, names[format]);
  await run([nfpm, "package", "--config", file, "--packager", format, "--target", target], {
    env: { SOURCE_DATE_EPOCH: String(Math.floor(input.at.getTime() / 1000)) },
  });
  return target;
}

/** Copies that have the time of the commit: an .apk has the times of its scripts' files. */
async function placeScripts(at: Date, work: string): Promise<Readonly<Record<string, string>>> {
  const placed: Record<string, string> = {};
  for (const name of ["preinstall", "postinstall", "preremove", "postremove"]) {
    const path = join(work, `${name}.sh`);
    await copyFile(join(here, "scripts", `${name}.sh`), path);
    await utimes(path, at, at);
    placed[name] = path;
  }
  return placed;
}

/** What `crib install` writes, at the places of packages. */
async function layOut(format: PackageFormat, input: PackageInput, work: string) {
  const tree = join(work, "tree");
  await mkdir(tree, { recursive: true });
  const generated = async (name: string, ...argv: readonly string[]) => {
    const path = join(tree, name);
    await Bun.write(
      path,
      await run([input.runnable, ...argv], { env: { CRIB_DATA: join(work, "data") } }),
    );
    return path;
  };
  const pages = join(tree, "man");
  await mkdir(pages, { recursive: true });
  await run([input.runnable, "man", pages], { env: { CRIB_DATA: join(work, "data") } });
  const files = nodeFiles(format === "apk" ? "openrc" : "systemd", "");
  const placed = async (from: string, to: string, mode: number) => {
    const path = join(tree, to);
    await Bun.write(path, packaged(files, from));
    return { src: path, dst: to, file_info: { mode } };
  };
  for (const shell of ["bash", "zsh", "fish"]) await generated(shell, "completion", shell);
  const doc = "/usr/share/doc/crib";
  return [
    { src: input.executable, dst: executablePath, file_info: { mode: 0o755 } },
    {
      src: await generated("config.toml", "config", "default"),
      dst: "/etc/crib/config.toml",
      type: "config|noreplace",
      file_info: { mode: 0o644 },
    },
    // A directory that no package owns stays when the package goes.
    ...["/etc/crib", "/etc/crib/config.toml.d", doc].map((dst) => ({
      dst,
      type: "dir",
      file_info: { mode: 0o755 },
    })),
    await placed("/etc/modules-load.d/crib.conf", "/usr/lib/modules-load.d/crib.conf", 0o644),
    await placed("/etc/sysctl.d/60-crib.conf", "/usr/lib/sysctl.d/60-crib.conf", 0o644),
    ...(format === "apk"
      ? [
          await placed(paths.start, "/usr/lib/crib/start", 0o755),
          await placed(paths.openrcScript, "/etc/init.d/crib", 0o755),
        ]
      : [await placed(paths.systemdUnit, "/usr/lib/systemd/system/crib.service", 0o644)]),
    { src: `${pages}/*.1`, dst: "/usr/share/man/man1/", file_info: { mode: 0o644 } },
    ...[
      ["bash", "/usr/share/bash-completion/completions/crib"],
      ["zsh", "/usr/share/zsh/vendor-completions/_crib"],
      ["fish", "/usr/share/fish/vendor_completions.d/crib.fish"],
    ].map(([shell = "", dst]) => ({ src: join(tree, shell), dst, file_info: { mode: 0o644 } })),
    { src: input.notices, dst: `${doc}/copyright`, file_info: { mode: 0o644 } },
    { src: input.sources, dst: `${doc}/SOURCES.md`, file_info: { mode: 0o644 } },
    { src: input.changelog, dst: `${doc}/CHANGELOG.md`, file_info: { mode: 0o644 } },
  ];
}

/** A file of `crib install`, without what belongs to `crib upgrade`: the package manager goes back itself. */
function packaged(files: readonly NodeFile[], path: string): string {
  const found = files.find((file) => file.path === path);
  if (found === undefined) throw new Error(`crib install writes no ${path}`);
  return found.content
    .split("\n")
    .filter((line) => line !== paths.settle && !line.includes(`=-${paths.settle}`))
    .join("\n")
    .replaceAll(paths.start, "/usr/lib/crib/start")
    .replaceAll(paths.executable, executablePath);
}
