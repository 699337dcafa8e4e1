import { chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { unpackUnstable } from "./unstable.ts";

/**
 * Debian's newest CRIU with its own C library, run through its own loader: an older one does not know the kernels of
 * newer machines, and is not installed, so that it replaces nothing.
 */
export async function makeCriu(program: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "criu-"));
  try {
    const root = join(dir, "root");
    await unpackUnstable(["criu"], dir, root);
    const target = dirname(program);
    await rm(target, { recursive: true, force: true });
    await mkdir(target, { recursive: true });
    const machine = (await readdir(join(root, "usr/lib"))).find((name) => name.endsWith("-gnu"));
    if (machine === undefined) throw new Error("no libraries beside CRIU");
    const libraries = join(target, "lib");
    await rename(join(root, "usr/lib", machine), libraries);
    await rename(join(root, "usr/sbin/criu"), join(target, "program"));
    const [loader] = (await readdir(libraries)).filter((name) => /^ld-linux.*\.so/.test(name));
    const command = `${libraries}/${loader} --library-path ${libraries} ${target}/program "$@"`;
    await Bun.write(program, `#!/bin/sh\nexec ${command}\n`);
    await chmod(program, 0o755);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
