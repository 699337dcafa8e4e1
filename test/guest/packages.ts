import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../../embed/cache.ts";
import {
  type DebianPackage,
  packageClosure,
  packageInputs,
  unpackPackages,
} from "../../embed/debian.ts";
import type { Target } from "../../embed/target.ts";
import { installPackages } from "../parts/debian.ts";
import { parts, repositoryDir } from "../parts/paths.ts";
import { run } from "../parts/run.ts";
import type { Machine } from "./machine.ts";

/** Everything about guests that takes time to make, by version. */
export const guestCache = join(repositoryDir, ".cache/guest");

/** On the node of the tests: what crib and critest run, and what loads AppArmor profiles. */
const userland = ["iptables", "nftables", "util-linux", "apparmor", "criu"];
const foreignUserland = ["iptables", "nftables", "util-linux", "docker-registry"];
/** What these packages depend on only for being installed. */
const unwanted =
  /^(?:debconf|perl|lsb-base|sysvinit-utils|netbase|init-system-helpers|python3.*|libpython.*|media-types|tzdata)/u;

export interface Kernel {
  readonly version: string;
  readonly image: string;
  /** `/lib/modules/<version>`, with what depmod makes. */
  readonly modules: string;
}

/** Debian's kernel for virtual machines, unpacked and not installed. */
export async function fetchKernel({ target, kernelPackage }: Machine): Promise<Kernel> {
  const closure = await packageClosure(target, [kernelPackage]);
  const image = closure.find(({ name }) => /^linux-image-\d/u.test(name));
  if (image === undefined) throw new Error(`${kernelPackage} depends on no kernel`);
  const version = image.name.replace("linux-image-", "");
  const dir = await cached(
    `kernel${target.suffix}`,
    packageInputs([image]),
    async (made) => {
      const unpacked = join(made, "unpacked");
      await mkdir(unpacked);
      await unpackPackages(target, [image], unpacked);
      await run([parts.busybox, "depmod", "-b", unpacked, version]);
      await rename(join(unpacked, "boot", `vmlinuz-${version}`), join(made, "vmlinuz"));
      await rename(join(unpacked, "lib/modules", version), join(made, "modules"));
      await rm(unpacked, { recursive: true });
    },
    guestCache,
  );
  return { version, image: join(dir, "vmlinuz"), modules: join(dir, "modules") };
}

export interface Userland {
  readonly packages: readonly DebianPackage[];
  /** Fills a directory with their files. */
  unpack(directory: string): Promise<void>;
}

export async function chooseUserland(target: Target): Promise<Userland> {
  const wanted = target.isNative ? userland : foreignUserland;
  const closure = await packageClosure(target, wanted);
  const packages = closure.filter(({ name }) => !unwanted.test(name));
  return {
    packages,
    unpack: async (directory) => {
      await unpackPackages(target, packages, directory);
      await rm(join(directory, "downloads"), { recursive: true });
      for (const dir of ["usr/share/doc", "usr/share/man", "usr/share/locale"]) {
        await rm(join(directory, dir), { recursive: true, force: true });
      }
    },
  };
}

/** The emulator, installed if it is missing: it comes with half a hundred libraries. */
export async function requireQemu({ emulator, emulatorPackage }: Machine): Promise<string> {
  const find = () => Bun.which(emulator);
  if (find() === null) await installPackages([emulatorPackage]);
  const qemu = find();
  if (qemu === null) throw new Error(`${emulator} is missing`);
  return qemu;
}

/** The modules that a device or file system needs, dependencies first, as paths below `modules`. */
export async function modulesFor(kernel: Kernel, names: readonly string[]): Promise<string[]> {
  const text = await Bun.file(join(kernel.modules, "modules.dep")).text();
  const needed = new Set<string>();
  for (const name of names) {
    const line = text.split("\n").find((one) => one.includes(`/${name}.ko:`));
    // It is built in.
    if (line === undefined) continue;
    const [module = "", dependencies = ""] = line.split(":");
    for (const path of dependencies.split(" ").filter(Boolean).reverse()) needed.add(path);
    needed.add(module);
  }
  return [...needed];
}

/** Names in a directory, sorted: what a directory of content-addressed files is, as an input. */
export async function listing(directory: string): Promise<string> {
  return (await readdir(directory, { recursive: true })).sort().join("\n");
}
