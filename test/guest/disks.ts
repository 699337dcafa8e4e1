import { chmod, cp, mkdir, readdir, rename, rm, stat, symlink, truncate } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../../embed/cache.ts";
import { packageInputs } from "../../embed/debian.ts";
import { writeMirrors } from "../harness/registry-server.ts";
import { parts } from "../parts/paths.ts";
import { run } from "../parts/run.ts";
import { packCpio } from "./cpio.ts";
import { busyboxFor, registryFor } from "./foreign.ts";
import type { Machine } from "./machine.ts";
import { chooseUserland, guestCache, type Kernel, listing, modulesFor } from "./packages.ts";

const ownFiles = join(import.meta.dir, "root");
/** Only a guest like this machine has them; on others the registry is Debian's package. */
const ownPrograms = [parts.crictl, parts.critest["1.36.0"].critest, parts.dockerRegistry];
export const registryHost = "127.0.0.1:5000";
const mib = 2 ** 20;

export const settings: Readonly<Record<string, string>> = {
  "etc/hosts": "127.0.0.1 localhost guest\n",
  "etc/resolv.conf": "nameserver 127.0.0.1\n",
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
  "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
  "etc/crictl.yaml":
    "runtime-endpoint: unix:///run/crib/crib.sock\nimage-endpoint: unix:///run/crib/crib.sock\ntimeout: 120\n",
  "etc/crib/config.toml": '[network]\ndefault = "embedded"\n',
  // JSON is YAML.
  "etc/registry.json": JSON.stringify({
    version: 0.1,
    log: { level: "info", accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: "/opt/registry" },
      maintenance: { uploadpurging: { enabled: false }, readonly: { enabled: true } },
    },
    http: { addr: registryHost },
  }),
};
const emptyDirectories = [
  ...[
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "mnt",
    "root",
    "var/tmp",
    "var/log",
    "var/lib",
    "etc/cni",
  ],
  "opt/cni/bin",
  ...["bin", "sbin", "usr/local/bin", "usr/local/sbin", "etc/apparmor.d/cache"],
];

/** Where those of our own files go that are no commands. */
const places: Readonly<Record<string, string>> = { init: "sbin", "record-bridge": "opt/cni/bin" };

/** What update-alternatives would make. */
const alternatives = ["iptables", "ip6tables"].flatMap((name) =>
  ["", "-save", "-restore"].map((rest) => `${name}${rest}`),
);

/** The disk that every guest has as its root, read only: Debian's tools, crib, a registry with the test images. */
export async function makeRootDisk(
  { target }: Machine,
  kernel: Kernel,
  crib: string,
): Promise<string> {
  const userland = await chooseUserland(target);
  const programs = target.isNative ? ownPrograms : [];
  const [busybox, registry] = [await busyboxFor(target), await registryFor(target)];
  const inputs = [
    await Bun.file(import.meta.path).text(),
    ...packageInputs(userland.packages),
    kernel.version,
    ...(await Promise.all([crib, busybox, ...programs].map(identity))),
    await listing(registry),
    ...(await Promise.all((await ownNames()).map((name) => Bun.file(join(ownFiles, name)).text()))),
  ];
  const made = await cached(
    `root${target.suffix}`,
    inputs,
    async (dir) => {
      const tree = join(dir, "tree");
      await mkdir(tree);
      await userland.unpack(tree);
      await fillTree(tree, kernel, programs, { crib, busybox, registry });
      await makeExt4(join(dir, "root.img"), await sizeOf(tree), ["-O", "^has_journal", "-d", tree]);
      await rm(tree, { recursive: true });
    },
    guestCache,
  );
  return join(made, "root.img");
}

async function fillTree(
  tree: string,
  kernel: Kernel,
  programs: readonly string[],
  files: { readonly crib: string; readonly busybox: string; readonly registry: string },
): Promise<void> {
  for (const dir of emptyDirectories) await mkdir(join(tree, dir), { recursive: true });
  for (const [path, text] of Object.entries(settings)) await Bun.write(join(tree, path), text);
  await writeMirrors(join(tree, "etc/crib/certs.d"), registryHost);
  await cp(kernel.modules, join(tree, "lib/modules", kernel.version), { recursive: true });
  await cp(files.registry, join(tree, "opt/registry"), { recursive: true });
  await cp(files.crib, join(tree, "usr/local/bin/crib"));
  for (const program of programs) await run(["cp", program, join(tree, "usr/local/bin/")]);
  for (const name of await ownNames()) {
    const target = join(tree, places[name] ?? "usr/local/sbin", name);
    await cp(join(ownFiles, name), target);
    await chmod(target, 0o755);
  }
  for (const name of alternatives) {
    await symlink("xtables-nft-multi", join(tree, "usr/sbin", name));
  }
  // util-linux goes first; all else is busybox.
  const applets = (await run([parts.busybox, "--list-full"])).trim().split("\n");
  await run(["cp", files.busybox, join(tree, "bin/busybox")]);
  for (const path of applets) {
    await mkdir(join(tree, path, ".."), { recursive: true });
    await symlink("/bin/busybox", join(tree, path)).catch(ignoreExisting);
  }
}

/** The initramfs: busybox, the drivers of the root disk, and `/guest`, which the node finds in /run. */
export async function makeInitramfs(
  { target }: Machine,
  kernel: Kernel,
  guestFiles: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  const modules = await modulesFor(kernel, ["virtio_pci", "virtio_blk", "ext4"]);
  const flat = modules.map((path) => path.replaceAll("/", "-"));
  const file = (path: string, data: Uint8Array | string) => ({ type: "file", path, data }) as const;
  return packCpio([
    ...["bin", "modules", "guest"].map((path) => ({ type: "directory", path }) as const),
    file("init", await Bun.file(join(ownFiles, "early-init")).text()),
    file("bin/busybox", await Bun.file(await busyboxFor(target)).bytes()),
    file("modules/order", flat.map((name) => `${name}\n`).join("")),
    ...(await Promise.all(
      modules.map(async (path, i) =>
        file(`modules/${flat[i]}`, await Bun.file(join(kernel.modules, path)).bytes()),
      ),
    )),
    ...Object.entries(guestFiles).map(([name, text]) => file(`guest/${name}`, text)),
  ]);
}

/** A new disk for /var/lib. It may be given to several guests, one after the other. */
export async function makeDataDisk(path: string): Promise<void> {
  await makeExt4(path, 4096 * mib, []);
}

/** A disk without a file system, for what a guest reports. */
export async function makeRawDisk(path: string): Promise<void> {
  await Bun.write(path, "");
  await truncate(path, 256 * mib);
}

export async function makeExt4(
  path: string,
  size: number,
  options: readonly string[],
): Promise<void> {
  await Bun.write(`${path}.new`, "");
  await truncate(`${path}.new`, size);
  const mke2fs =
    Bun.which("mke2fs", { PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` }) ?? "mke2fs";
  await run([mke2fs, "-q", "-F", "-t", "ext4", "-m", "0", ...options, `${path}.new`]);
  await rename(`${path}.new`, path);
}

/** With room for what a file system needs beside its files. */
export async function sizeOf(tree: string): Promise<number> {
  const kib = Number((await run(["du", "-sk", tree])).split("\t")[0]);
  return Math.ceil((kib * 1024 * 1.1 + 32 * mib) / mib) * mib;
}

export async function identity(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${path} ${size} ${mtimeMs}`;
}

async function ownNames(): Promise<readonly string[]> {
  return (await readdir(ownFiles)).filter((name) => name !== "early-init").sort();
}

function ignoreExisting(err: unknown): void {
  if ((err as NodeJS.ErrnoException).code !== "EEXIST") throw err;
}
