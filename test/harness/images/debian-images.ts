/**
 * Real images: Debian's own packages in layers that umoci cut, as a build tool would. They go to the registry
 * with skopeo, one of them recompressed with zstd and one with Docker's media types.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../parts/run.ts";

/** Repository of all of them; `debianTags` are the tags. */
export const debianRepository = "crib-test/debian";

export const debianTags = {
  /** One layer: what debootstrap makes. */
  base: "base",
  /** Four layers, over 100 MB compressed: `base`, compiler and Python, what was then deleted, an application. */
  tools: "tools",
  /** `base` with a zstd layer. */
  zstd: "zstd",
  /** `tools` with Docker's media types. */
  docker: "docker",
} as const;

export const toolsLayerCount = 4;

/** The least that `tools` has to weigh, compressed. */
export const toolsMinBytes = 100 * 1000 * 1000;

const packages = ["gcc", "libc6-dev", "python3-minimal", "libcap2-bin"];

/** For chroot: a debootstrapped root has all of it, and nothing of the host's settings may come in. */
const chrootEnv = [
  ...["env", "-i", "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"],
  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
];

const nice = ["nice", "-n", "10"];

/** Writes an OCI layout with the tag `base`. Needs root, a minute and Debian's mirror as the host's apt knows it. */
export async function makeDebianBase(layout: string, suite: string): Promise<void> {
  await using work = await workDir(layout);
  const bundle = join(work.path, "bundle");
  const rootfs = join(bundle, "rootfs");
  await rm(layout, { recursive: true, force: true });
  await run(["umoci", "init", "--layout", layout]);
  await run(["umoci", "new", "--image", `${layout}:empty`]);
  await run(["umoci", "unpack", "--image", `${layout}:empty`, bundle]);
  const mirror = (
    await run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"])
  ).split("\n")[0];
  if (mirror === undefined || mirror === "") throw new Error("apt knows no Debian mirror");
  await run([...nice, "debootstrap", "--variant=minbase", suite, rootfs, mirror]);
  await run(["chroot", rootfs, ...chrootEnv, "apt-get", "clean"]);
  await run([...nice, "umoci", "repack", "--image", `${layout}:${debianTags.base}`, bundle]);
  await configure(layout, debianTags.base, ["--config.cmd=bash"]);
}

/** Adds the tag `tools` to a layout that has `base`. */
export async function makeDebianTools(layout: string): Promise<void> {
  await using work = await workDir(layout);
  const bundle = join(work.path, "bundle");
  const rootfs = join(bundle, "rootfs");
  const image = `${layout}:${debianTags.tools}`;
  const inRoot = (script: string): Promise<string> =>
    run([...nice, "chroot", rootfs, ...chrootEnv, "sh", "-ec", script]);
  const commitLayer = (): Promise<string> =>
    run([...nice, "umoci", "repack", "--refresh-bundle", "--image", image, bundle]);

  await run(["umoci", "unpack", "--image", `${layout}:${debianTags.base}`, bundle]);
  await run(["cp", "-L", "/etc/resolv.conf", join(rootfs, "etc/resolv.conf")]);
  await inRoot(
    `apt-get update && apt-get install -y --no-install-recommends ${packages.join(" ")} && apt-get clean`,
  );
  await commitLayer();

  await inRoot(`
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/share/doc /usr/share/locale
    rm -f /etc/resolv.conf /etc/hostname
    mkdir /usr/share/doc`);
  await commitLayer();

  await inRoot(`
    useradd --uid 1500 --create-home app
    mkdir -p /srv/app
    echo 'print("python says", 6 * 7)' >/srv/app/main.py
    printf '#include <stdio.h>\\nint main(void) { printf("C says %%d\\\\n", 6 * 7); return 0; }\\n' >/srv/app/main.c
    gcc -o /srv/app/main /srv/app/main.c
    chown -R app:app /srv/app
    cp /bin/cat /srv/app/cat-anything && setcap cap_dac_override+ep /srv/app/cat-anything
    ln /srv/app/main /srv/app/main-hard-link
    install -m 4755 /usr/bin/id /srv/app/id-setuid`);
  await commitLayer();
  await configure(layout, debianTags.tools, [
    ...["--config.user=app", "--config.workingdir=/srv/app", "--config.env=CRIB_TEST=tools"],
    ...["--config.cmd=sh", "--config.cmd=-c", "--config.cmd=python3 main.py && ./main"],
    ...["--config.volume=/data", "--config.exposedports=8080/tcp", "--config.stopsignal=SIGQUIT"],
  ]);
}

async function configure(layout: string, tag: string, options: readonly string[]): Promise<void> {
  await run(["umoci", "config", "--no-history", "--image", `${layout}:${tag}`, ...options]);
}

/** Sends all tags of the layout, and the ones that skopeo makes of them, to a registry at `host`. */
export async function pushDebianImages(layout: string, host: string): Promise<void> {
  const skopeo = (from: string, to: string, ...options: readonly string[]): Promise<string> =>
    run([...nice, "skopeo", "copy", "--insecure-policy", "--quiet", ...options, from, to]);
  const push = (from: string, tag: string, ...options: readonly string[]): Promise<string> =>
    skopeo(
      from,
      `docker://${host}/${debianRepository}:${tag}`,
      "--dest-tls-verify=false",
      ...options,
    );

  await push(`oci:${layout}:${debianTags.base}`, debianTags.base);
  await push(`oci:${layout}:${debianTags.tools}`, debianTags.tools);
  await push(`oci:${layout}:${debianTags.tools}`, debianTags.docker, "--format=v2s2");
  // By way of a layout: a registry that has the gzip layer already would be given that one again.
  await using work = await workDir(layout);
  const recompressed = `oci:${work.path}:${debianTags.zstd}`;
  const zstd = ["--dest-compress", "--dest-compress-format=zstd"];
  await skopeo(`oci:${layout}:${debianTags.base}`, recompressed, ...zstd);
  await push(recompressed, debianTags.zstd);
}

async function workDir(layout: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(`${layout}.work-`);
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
