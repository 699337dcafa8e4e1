import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { repositoryDir } from "../../test/parts/paths.ts";

/** A program that was unpacked and not installed. */
export interface Program {
  readonly name: string;
  readonly argv: readonly string[];
  /** Where it finds helpers. */
  readonly path: string;
}

const benchDir = join(repositoryDir, ".cache/bench");

/** This machine's release. */
export function debianContainerd(): Program {
  const dir = join(benchDir, "containerd");
  const executable = `${dir}/usr/bin/containerd`;
  if (!existsSync(executable)) {
    mkdirSync(dir, { recursive: true });
    unpack(dir, [], ["containerd"]);
  }
  return { name: `containerd ${versionOf([executable])}`, argv: [executable], path: "/none" };
}

/** Debian's newest, with the C library it was made for, and with igzip, which containerd prefers to its own gunzip. */
export function newestContainerd(): Program {
  const dir = join(benchDir, "containerd-sid");
  const libraries = `${dir}/usr/lib/x86_64-linux-gnu`;
  const within = (name: string) => [
    `${libraries}/ld-linux-x86-64.so.2`,
    ...["--library-path", libraries, `${dir}/usr/bin/${name}`],
  ];
  const path = `${dir}/wrappers`;
  if (!existsSync(`${path}/igzip`)) {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(path, { recursive: true });
    const packages = ["containerd", "libc6", "libseccomp2", "isal", "libisal2"];
    unpack(dir, unstableSources(dir), packages);
    const igzip = within("igzip").join(" ");
    run(["sh", "-ec", `printf '#!/bin/sh\\nexec ${igzip} "$@"\\n' >igzip; chmod +x igzip`], path);
  }
  const argv = within("containerd");
  return { name: `containerd ${versionOf(argv)} + igzip`, argv, path };
}

/** Options for apt-get by which it knows Debian's unstable release, from the mirror that this machine uses, and nothing else. */
function unstableSources(dir: string): readonly string[] {
  const targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], dir);
  const mirror = targets.split("\n").find((uri) => /\/debian\/?$/.test(uri));
  if (mirror === undefined) throw new Error("no mirror of Debian among apt's sources");
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const script = `mkdir -p apt/lists/partial apt/archives/partial
    echo 'deb [signed-by=${keys}] ${mirror} sid main' >apt/sources.list`;
  run(["sh", "-ec", script], dir);
  const settings = {
    "Dir::Etc::SourceList": `${dir}/apt/sources.list`,
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::State": `${dir}/apt`,
    "Dir::State::status": "/dev/null",
    "Dir::Cache": `${dir}/apt`,
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  run(["apt-get", ...options, "-q", "update"], dir);
  return options;
}

function unpack(dir: string, options: readonly string[], packages: readonly string[]): void {
  const sandbox = ["-o", "APT::Sandbox::User=root"];
  run(["apt-get", ...options, ...sandbox, "-q", "download", ...packages], dir);
  run(["sh", "-ec", `for one in *.deb; do dpkg-deb -x "$one" .; done; rm -rf *.deb apt`], dir);
}

function versionOf(argv: readonly string[]): string {
  return /\b(\d+\.\d+)\.\d+/.exec(run([...argv, "--version"], "/"))?.[1] ?? "";
}

function run(argv: readonly string[], cwd: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...argv], { cwd, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout.toString();
}
