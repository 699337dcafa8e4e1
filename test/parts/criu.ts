import { chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "./run.ts";

/**
 * Debian's newest CRIU with its own C library, run through its own loader: an older one does not know the kernels of
 * newer machines, and is not installed, so that it replaces nothing.
 */
export async function makeCriu(program: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "criu-"));
  try {
    const root = join(dir, "root");
    await unpackNewest("criu", dir, root);
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

/** A package of Debian's unstable suite, and all that it depends on, with lists and a state that are not the host's. */
async function unpackNewest(name: string, dir: string, root: string): Promise<void> {
  const mirrors = ["indextargets", "--format", "$(SITE)", "Created-By: Packages"];
  const [mirror = ""] = (await run(["apt-get", ...mirrors])).split("\n");
  const archives = join(dir, "cache/archives");
  await mkdir(join(archives, "partial"), { recursive: true });
  await mkdir(join(dir, "lists"));
  await Bun.write(join(dir, "status"), "");
  await Bun.write(join(dir, "sources"), `deb ${mirror} sid main\n`);
  const settings = {
    "Dir::Etc::SourceList": join(dir, "sources"),
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::State::Lists": join(dir, "lists"),
    "Dir::State::status": join(dir, "status"),
    "Dir::Cache": join(dir, "cache"),
    "APT::Sandbox::User": "root",
    "Acquire::Retries": "5",
    "Acquire::Languages": "none",
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  await run(["apt-get", "-q", ...options, "update"]);
  const install = ["install", "-y", "--no-install-recommends", "--download-only", name];
  await run(["apt-get", "-q", ...options, ...install]);
  for (const file of (await readdir(archives)).filter((one) => one.endsWith(".deb"))) {
    await run(["dpkg-deb", "-x", join(archives, file), root]);
  }
}
