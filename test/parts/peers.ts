import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";
import { unpackUnstable } from "./unstable.ts";

const packages = ["containerd", "crun", "containernetworking-plugins"];
const programs = ["containerd", "containerd-shim-runc-v2", "ctr", "crun"];

/** Debian's newest containerd, crun and CNI plugins in `dir`, which holds nothing else; nothing is installed. */
export async function makePeers(dir: string): Promise<void> {
  const temporary = await mkdtemp(join(tmpdir(), "peers-"));
  try {
    const root = join(temporary, "root");
    await unpackUnstable(packages, temporary, root);
    await rm(dir, { recursive: true, force: true });
    await mkdir(join(dir, "bin"), { recursive: true });
    const machine = (await readdir(join(root, "usr/lib"))).find((name) => name.endsWith("-gnu"));
    if (machine === undefined) throw new Error("no libraries beside the programs");
    const libraries = join(dir, "lib");
    await run(["cp", "-a", join(root, "usr/lib", machine), libraries]);
    await run(["cp", "-a", join(root, "usr/lib/cni"), join(dir, "cni")]);
    const [loader] = (await readdir(libraries)).filter((name) => /^ld-linux.*\.so/.test(name));
    for (const name of programs) {
      await run(["cp", "-L", join(root, "usr/bin", name), join(dir, "bin", name)]);
    }
    // It wants a newer C library than this machine may have, and gets the one that it was made for. Go's programs do not.
    await run([
      ...["patchelf", "--set-interpreter", `${libraries}/${loader}`],
      ...["--force-rpath", "--set-rpath", libraries, join(dir, "bin/crun")],
    ]);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
