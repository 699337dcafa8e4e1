import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import { stringifyExact } from "../../lib/json.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";
import { MNT_DETACH, MS_BIND, mount, UMOUNT_NOFOLLOW, umount } from "../../os/mount/mount.ts";
import { parseBootstrap, type ShimAddress } from "./bootstrap.ts";

/** What a shim and this client keep in a task's bundle, beside config.json and rootfs. */
export function shimFilesOf(bundleDir: string) {
  return {
    config: `${bundleDir}/config.json`,
    rootfs: `${bundleDir}/rootfs`,
    /** The program that was started for the task: there before anything of a shim is. */
    program: `${bundleDir}/shim-binary-path`,
    /** Where the shim listens, as containerd writes it. */
    bootstrap: `${bundleDir}/bootstrap.json`,
    /** Older shims write it themselves. */
    address: `${bundleDir}/address`,
    /** How the task ended, as its shim reported: written before the shim forgets it. Not exit.json: that is runc's shim's. */
    end: `${bundleDir}/end.json`,
    /** The same, written by the monitor when the log is complete. */
    record: `${bundleDir}/exit-record.json`,
  } as const;
}

/** Writes what a shim finds in the bundle of a task before it is started. */
export function writeBundle(
  bundleDir: string,
  from: {
    readonly spec: RuntimeSpec;
    readonly program: string;
    readonly files: Readonly<Record<string, string>>;
  },
): void {
  const files = shimFilesOf(bundleDir);
  const { root } = from.spec;
  // Shims look for it there, whatever the configuration says.
  if (root.path !== files.rootfs) mount(root.path, files.rootfs, "", MS_BIND, "");
  const spec = { ...from.spec, root: { ...root, path: files.rootfs } };
  mkdirSync(`${bundleDir}/work`, { recursive: true, mode: 0o711 });
  for (const [name, text] of Object.entries(from.files)) {
    writeFileSync(`${bundleDir}/${name}`, text, { mode: 0o600 });
  }
  writeFileSync(files.config, stringifyExact(spec), { mode: 0o600 });
  writeFileSync(files.program, from.program, { mode: 0o600 });
}

/** Whether anything of this shim may be there for a task. */
export function isShimBundle(bundleDir: string, program: string): boolean {
  return ifThere(() => readFileSync(shimFilesOf(bundleDir).program, "utf8") === program) ?? false;
}

/** Nothing of a shim is there any more. */
export function releaseBundle(bundleDir: string): void {
  const { rootfs, program } = shimFilesOf(bundleDir);
  // The shim may have done it; of a container it is its layers', which are unmounted after the task is released.
  try {
    umount(rootfs, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (err) {
    if (!isErrno(err, "EINVAL") && !isErrno(err, "ENOENT")) throw err;
  }
  rmSync(program, { force: true });
}

export function writeShimAddress(bundleDir: string, { version, path }: ShimAddress): void {
  const bootstrap = { version, address: `unix://${path}`, protocol: "ttrpc" };
  writeFileAtomically(shimFilesOf(bundleDir).bootstrap, JSON.stringify(bootstrap), { brief: true });
}

/** Where the shim of a task listens; `undefined` where its start was cut off too early to know. */
export function readShimAddress(bundleDir: string): ShimAddress | undefined {
  const files = shimFilesOf(bundleDir);
  for (const path of [files.bootstrap, files.address]) {
    try {
      return parseBootstrap(readFileSync(path));
    } catch (err) {
      if (!isErrno(err, "ENOENT") && path === files.address) throw err;
    }
  }
  return undefined;
}

/** The socket of a shim that has been killed: nobody else removes it. */
export function removeSocket({ path }: ShimAddress): void {
  rmSync(path, { force: true });
}

export function makeShimDirectory(stateDir: string): string {
  const dir = `${stateDir}/shims`;
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  return dir;
}

/** Text of the configuration as a file, for shims that only read files. */
export function writeShimConfig(stateDir: string, name: string, text: string): string {
  const path = `${makeShimDirectory(stateDir)}/${name}.toml`;
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
