import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../embed/command.ts";
import { type Cri, connectCri } from "../test/harness/cri.ts";
import { eventually } from "../test/harness/eventually.ts";
import { repositoryDir } from "../test/parts/paths.ts";

const packages = ["containerd", "runc", "crun", "containernetworking-plugins"];
/** What these call, and a shell to start them with. */
const tools = ["iptables", "bash", "coreutils", "mount"];
const directory = join(repositoryDir, ".cache/bench");

/** The root directory of the peers' programs, and their versions as Debian has them. */
export interface PeerPrograms {
  readonly root: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** The newest that Debian sid has, with all that they depend on, in a root directory of their own. Asks apt each time. */
export async function fetchPeers(): Promise<PeerPrograms> {
  const apt = join(directory, "apt");
  for (const part of ["lists/partial", "archives/partial"]) {
    mkdirSync(join(apt, part), { recursive: true });
  }
  writeFileSync(join(apt, "status"), "");
  // Where this machine has its own packages from.
  const sites = await run([
    "apt-get",
    "indextargets",
    "--format",
    "$(SITE)",
    "Created-By: Packages",
  ]);
  const [mirror = ""] = sites.split("\n");
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const sources = join(apt, "sid.sources");
  writeFileSync(
    sources,
    `Types: deb\nURIs: ${mirror}\nSuites: sid\nComponents: main\nSigned-By: ${keys}\n`,
  );
  const settings = {
    "APT::Sandbox::User": "root",
    "APT::Install-Recommends": "false",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    "Acquire::Languages": "none",
    "Dir::Etc::sourcelist": sources,
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::State": apt,
    "Dir::State::lists": join(apt, "lists"),
    "Dir::State::status": join(apt, "status"),
    "Dir::Cache": apt,
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  await run(["apt-get", ...options, "--quiet", "update"]);
  await run([
    "apt-get",
    ...options,
    "--quiet",
    "--download-only",
    "--yes",
    "install",
    ...packages,
    ...tools,
  ]);
  const shown = await run(["apt-cache", ...options, "show", "--no-all-versions", ...packages]);
  const versions = Object.fromEntries(
    [...shown.matchAll(/^Package: (.*)$[\s\S]*?^Version: (.*)$/gm)].map(([, name, version]) => [
      name ?? "",
      version ?? "",
    ]),
  );
  const root = join(directory, `sid-${Bun.hash(JSON.stringify(versions)).toString(16)}`);
  if (!existsSync(root)) await extract(join(apt, "archives"), root);
  return { root, versions };
}

async function extract(archives: string, root: string): Promise<void> {
  const made = `${root}.new`;
  rmSync(made, { recursive: true, force: true });
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    mkdirSync(join(made, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(made, name));
  }
  for (const archive of new Bun.Glob("*.deb").scanSync(archives)) {
    await run(["dpkg-deb", "-x", join(archives, archive), made]);
  }
  for (const name of ["iptables", "iptables-save", "iptables-restore"]) {
    const target = name.replace("iptables", "iptables-nft");
    for (const family of ["", "6"]) {
      const link = join(made, "usr/sbin", name.replace("ip", `ip${family}`));
      rmSync(link, { force: true });
      symlinkSync(target.replace("ip", `ip${family}`), link);
    }
  }
  for (const name of ["proc", "sys", "dev", "run", "tmp", "var/tmp", "etc"]) {
    mkdirSync(join(made, name), { recursive: true });
  }
  for (const file of ["hosts", "resolv.conf", "passwd", "group"]) {
    writeFileSync(join(made, "etc", file), "");
  }
  rmSync(join(made, "var/run"), { recursive: true, force: true });
  symlinkSync("/run", join(made, "var/run"));
  renameSync(made, root);
}

export interface PeerOptions {
  readonly programs: PeerPrograms;
  /** Of this peer alone, on the disk. */
  readonly dir: string;
  /** certs.d-style mirror files. */
  readonly registryConfigDir: string;
  /** A CNI configuration; it is removed with `dir`. */
  readonly conflist: object;
  /** cgroup.procs files that the daemon is put into. */
  readonly cgroupProcs: readonly string[];
}

export interface Peer extends AsyncDisposable {
  readonly cri: Cri;
  readonly socket: string;
}

/** The names of its handlers, each an OCI runtime. */
export const peerHandlers = ["runc", "crun"] as const;

/**
 * containerd with runc and crun as handlers, in a mount namespace and a root directory of its own, in the network
 * namespace of this process. Version 2 of cgroups is not mounted there where it is beside version 1: crun wants that.
 */
export async function startContainerd(options: PeerOptions): Promise<Peer> {
  const { programs, dir, registryConfigDir, conflist, cgroupProcs } = options;
  mkdirSync(`${dir}/net.d`, { recursive: true });
  writeFileSync(`${dir}/net.d/10-bench.conflist`, JSON.stringify(conflist));
  const socket = `${dir}/containerd.sock`;
  const runtimes = peerHandlers.map(
    (name) => `[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.${name}]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.${name}.options]
BinaryName = "${name === "runc" ? "/usr/sbin/runc" : "/usr/bin/crun"}"
SystemdCgroup = false
`,
  );
  writeFileSync(
    `${dir}/config.toml`,
    `version = 3
root = "${dir}/root"
state = "/run/containerd"
[grpc]
address = "${socket}"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "registry.k8s.io/pause:3.10.1"
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "${registryConfigDir}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${dir}/net.d"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
${runtimes.join("")}`,
  );
  const script = `mount --make-rprivate / && mount --bind "$1" "$1" && cd "$1" &&
for name in proc sys dev tmp var/tmp; do mount --rbind /$name ./$name || exit 1; done
mount -t tmpfs run ./run && mkdir ./run/netns && umount ./sys/fs/cgroup/unified 2>/dev/null
for procs in $3; do echo $$ > $procs || exit 1; done
exec setpriv --pdeathsig KILL chroot . /usr/bin/containerd --config "$2"`;
  const child = Bun.spawn(
    [
      ...["unshare", "--mount", "sh", "-c", script, "sh"],
      ...[programs.root, `${dir}/config.toml`, cgroupProcs.join(" ")],
    ],
    {
      stdio: ["ignore", Bun.file(`${dir}/log`), Bun.file(`${dir}/log`)],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    },
  );
  const cri = connectCri(socket);
  const ready = eventually(async () => {
    if (child.exitCode !== null) throw new Error(`containerd: exit code ${child.exitCode}`);
    await cri.runtime.version({});
  });
  await ready.catch(async (cause: unknown) => {
    child.kill("SIGKILL");
    throw new Error(`containerd does not answer:\n${await Bun.file(`${dir}/log`).text()}`, {
      cause,
    });
  });
  return {
    cri,
    socket,
    [Symbol.asyncDispose]: async () => {
      for (const { id } of (await cri.runtime.listPodSandbox({})).items) {
        await cri.runtime.stopPodSandbox({ podSandboxId: id });
        await cri.runtime.removePodSandbox({ podSandboxId: id });
      }
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}
