import { chmod, cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { cached, sources } from "../../../embed/cache.ts";
import { writeMirrors } from "../../harness/registry-server.ts";
import { debianSuite } from "../../parts/debian.ts";
import { parts } from "../../parts/paths.ts";
import { run } from "../../parts/run.ts";
import { makeExt4, registryHost, settings, sizeOf } from "../disks.ts";
import { guestCache, type Kernel, listing } from "../packages.ts";

const ownFiles = join(import.meta.dir, "root");

/** Beside what debootstrap thinks a system needs. */
const packages = [
  ...["systemd-sysv", "dbus", "udev", "kmod", "iproute2", "iptables", "nftables", "procps"],
  ...["apparmor", "sudo", "wget"],
];
const units = ["agent.service", "programs.service", "registry.service"];
/** Modules that containers and pods need and that nobody asks the kernel for by a device. */
const modules = ["overlay", "br_netfilter", "virtio_console"];

const ownSettings: Readonly<Record<string, string>> = {
  "etc/fstab": "/dev/vda / ext4 rw,relatime 0 1\n",
  "etc/hostname": "guest\n",
  "etc/hosts": settings["etc/hosts"] ?? "",
  "etc/resolv.conf": settings["etc/resolv.conf"] ?? "",
  "etc/crictl.yaml": settings["etc/crictl.yaml"] ?? "",
  "etc/registry.json": settings["etc/registry.json"] ?? "",
  "etc/crib/config.toml": settings["etc/crib/config.toml"] ?? "",
  "etc/modules-load.d/guest.conf": modules.map((name) => `${name}\n`).join(""),
  // What is looked at after a test must not have been rotated away.
  "etc/systemd/journald.conf.d/guest.conf": "[Journal]\nStorage=persistent\nRateLimitBurst=0\n",
  "etc/sysctl.d/guest.conf": "net.ipv4.ip_forward = 1\nkernel.printk = 3 3 3 3\n",
};

/** A root file system as debootstrap makes it, with systemd, crib's unit and the registry of the tests. */
export async function makeSystemdRoot(kernel: Kernel): Promise<string> {
  const suite = await debianSuite();
  const base = await cached(
    "systemd-base",
    [suite, ...packages],
    (dir) => bootstrap(suite, join(dir, "tree")),
    guestCache,
  );
  const inputs = [
    base,
    kernel.version,
    await Bun.file(import.meta.path).text(),
    ...(await sources(ownFiles, "*")),
    await listing(parts.registryData),
  ];
  const made = await cached(
    "systemd-root",
    inputs,
    async (dir) => {
      const tree = join(dir, "tree");
      await run(["cp", "-a", join(base, "tree"), tree]);
      await fillTree(tree, kernel);
      await makeExt4(join(dir, "root.img"), (await sizeOf(tree)) + 6 * 2 ** 30, ["-d", tree]);
      await rm(tree, { recursive: true });
    },
    guestCache,
  );
  return join(made, "root.img");
}

/** What comes to /usr/local: a disk that holds a tar archive. */
export async function makeProgramsDisk(
  path: string,
  programs: readonly string[],
  texts: Readonly<Record<string, string>>,
  downloads: readonly string[] = [],
): Promise<void> {
  const dir = await mkdtemp(join(guestCache, "programs-"));
  try {
    await mkdir(join(dir, "bin"));
    await mkdir(join(dir, "share/guest"), { recursive: true });
    for (const program of programs) await run(["cp", "-L", program, join(dir, "bin/")]);
    for (const file of downloads) await run(["cp", "-L", file, join(dir, "share/guest/")]);
    for (const [name, text] of Object.entries(texts)) {
      await Bun.write(join(dir, "share/guest", name), text);
    }
    await run(["tar", "-c", "-f", path, "--owner=0", "--group=0", "-C", dir, "."]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function bootstrap(suite: string, tree: string): Promise<void> {
  const sites = await run([
    ...["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
  ]);
  const [mirror = ""] = sites.split("\n");
  if (mirror === "") throw new Error("apt knows no Debian mirror");
  const included = `--include=${packages.join(",")}`;
  await run([
    ...["nice", "-n", "15", "debootstrap", "--variant=minbase", included, suite, tree, mirror],
  ]);
  await run([
    "sh",
    "-c",
    'rm -rf "$0"/var/cache/apt/archives/*.deb "$0"/var/lib/apt/lists/*',
    tree,
  ]);
}

async function fillTree(tree: string, kernel: Kernel): Promise<void> {
  for (const [path, text] of Object.entries(ownSettings)) {
    await mkdir(join(tree, path, ".."), { recursive: true });
    await Bun.write(join(tree, path), text);
  }
  await writeMirrors(join(tree, "etc/crib/certs.d"), registryHost);
  await mkdir(join(tree, "lib/modules"), { recursive: true });
  await cp(kernel.modules, join(tree, "lib/modules", kernel.version), { recursive: true });
  await run(["chroot", tree, "depmod", kernel.version]);
  await cp(parts.registryData, join(tree, "opt/registry"), { recursive: true });
  await cp(join(ownFiles, "agent"), join(tree, "usr/local/sbin/agent"));
  await chmod(join(tree, "usr/local/sbin/agent"), 0o755);
  const system = join(tree, "etc/systemd/system");
  for (const name of [...units, "crib.service"]) {
    await cp(join(ownFiles, name), join(system, name));
  }
  for (const [unit, target] of [
    ["agent.service", "multi-user.target"],
    ["registry.service", "multi-user.target"],
    ["programs.service", "sysinit.target"],
  ] as const) {
    await mkdir(join(system, `${target}.wants`), { recursive: true });
    await symlink(`../${unit}`, join(system, `${target}.wants`, unit));
  }
  // Nobody logs in, and nothing is to be done at a time of its own.
  for (const unit of ["getty.target", "apt-daily.timer", "apt-daily-upgrade.timer"]) {
    await symlink("/dev/null", join(system, unit));
  }
}
