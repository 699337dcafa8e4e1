import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import type { ContainerId } from "../lib/id.ts";
import { parseExact } from "../lib/json.ts";
import { ifThere, isErrno } from "../os/errno-error.ts";

/** Where the parts of one container's bundle are (runtime-spec, bundle.md), all on tmpfs under `<state>`. */
export interface Bundle {
  readonly dir: string;
  readonly config: string;
  readonly rootfs: string;
}

export function bundleOf(stateDir: string, id: ContainerId): Bundle {
  const dir = `${stateDir}/containers/${id}`;
  return {
    dir,
    config: `${dir}/config.json`,
    rootfs: `${dir}/rootfs`,
  };
}

/** The names of all bundles that are there. */
export function bundlesIn(stateDir: string): readonly string[] {
  return readdirSync(`${stateDir}/containers`);
}

/** Makes the bundle's directories; the disposer removes them, and refuses to while something is mounted inside. */
export function createBundle(bundle: Bundle): Disposable {
  // 0711: a process in a user namespace has to reach its root file system, nobody has to list it.
  mkdirSync(bundle.dir, { mode: 0o711 });
  mkdirSync(bundle.rootfs, { mode: 0o711 });
  return { [Symbol.dispose]: () => removeBundle(bundle) };
}

/** What the runtime was given; undefined when it is gone. */
export function readConfig(bundle: Bundle): unknown {
  return ifThere(() => parseExact(readFileSync(bundle.config, "utf8")));
}

/** Where the image that is a container's n-th image volume is mounted. */
export function imageVolumeOf(bundle: Bundle, index: number): string {
  return `${bundle.dir}/images/${index}`;
}

/** The places of all its image volumes, mounted or not. */
export function listImageVolumes(bundle: Bundle): readonly string[] {
  return (
    ifThere(() =>
      readdirSync(`${bundle.dir}/images`).map((name) => `${bundle.dir}/images/${name}`),
    ) ?? []
  );
}

/** Idempotent. Refuses (EBUSY) while something is mounted in it: no file of an image is ever deleted through here. */
export function removeBundle(bundle: Bundle): void {
  for (const mountPoint of [bundle.rootfs, ...listImageVolumes(bundle)]) {
    try {
      rmdirSync(mountPoint);
    } catch (err) {
      if (!isErrno(err, "ENOENT")) throw err;
    }
  }
  rmSync(bundle.dir, { force: true, recursive: true });
}
