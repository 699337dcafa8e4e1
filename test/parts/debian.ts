import { chmod, copyFile, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";

/** Commands that tests run, and the packages they come in. */
const neededCommands: Readonly<Record<string, string>> = {
  skopeo: "skopeo",
  umoci: "umoci",
  debootstrap: "debootstrap",
  gcc: "gcc",
  openssl: "openssl",
  iptables: "iptables",
  ip: "iproute2",
  nsenter: "util-linux",
  ipcmk: "util-linux",
  flock: "util-linux",
  setpriv: "util-linux",
  ps: "procps",
  getfattr: "attr",
  setfattr: "attr",
  getcap: "libcap2-bin",
};

const aptOptions = [
  "DPkg::Lock::Timeout=300",
  "APT::Sandbox::User=root",
  // Of a download that fails.
  "Acquire::Retries=5",
];
const nonInteractive = { DEBIAN_FRONTEND: "noninteractive" };

/** A user's PATH may lack the directories where root's commands are. */
const searchPath = `${process.env["PATH"]}:/usr/sbin:/sbin:/usr/local/sbin`;

export function missingPackages(): readonly string[] {
  const missing = Object.entries(neededCommands)
    .filter(([command]) => Bun.which(command, { PATH: searchPath }) === null)
    .map(([, name]) => name);
  return [...new Set([...missing, ...(hasStaticLibc() ? [] : ["libc6-dev"])])];
}

function hasStaticLibc(): boolean {
  const gcc = Bun.which("gcc");
  if (gcc === null) return false;
  const found = Bun.spawnSync([gcc, "-print-file-name=libc.a"]).stdout.toString().trim();
  // gcc repeats the bare name when there is no such file.
  return found.includes("/");
}

export async function installPackages(names: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0 || Bun.which("apt-get") === null) {
    throw new Error(`missing and not installed by itself (that takes root on Debian): ${names}`);
  }
  await withFreshLists(["install", "-y", "--no-install-recommends", ...names]);
}

/**
 * Fetches packages and hands their files to `use` without installing them: Debian's docker-registry would
 * start a service, and busybox-static would push out the busybox that the host has.
 */
export async function unpackPackages(
  names: readonly string[],
  use: (root: string) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "packages-"));
  try {
    await withFreshLists(["download", ...names], dir);
    const archives = (await readdir(dir)).filter((file) => file.endsWith(".deb"));
    for (const archive of archives) {
      await run(["dpkg-deb", "-x", join(dir, archive), join(dir, "root")]);
    }
    await use(join(dir, "root"));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Package lists go stale, and a new machine has none; a list that will do is not fetched again. */
async function withFreshLists(command: readonly string[], cwd = "/"): Promise<void> {
  const aptGet = (...argv: readonly string[]): Promise<string> =>
    run(["apt-get", "-q", ...aptOptions.flatMap((option) => ["-o", option]), ...argv], {
      cwd,
      env: nonInteractive,
    });
  try {
    await aptGet(...command);
  } catch {
    await aptGet("update");
    await aptGet(...command);
  }
}

export async function installProgram(from: string, to: string): Promise<void> {
  await mkdir(join(to, ".."), { recursive: true });
  // Not over a file that may be running.
  await rm(to, { force: true });
  await copyFile(from, to);
  await chmod(to, 0o755);
}

/** The release that this host runs, for images of the same one; bookworm elsewhere than on Debian. */
export async function debianSuite(): Promise<string> {
  const release = await Bun.file("/etc/os-release").text();
  const isDebian = /^ID=debian$/mu.test(release);
  return (isDebian ? /^VERSION_CODENAME=(\w+)$/mu.exec(release)?.[1] : undefined) ?? "bookworm";
}
