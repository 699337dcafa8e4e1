import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./run.ts";

/**
 * Packages of Debian's unstable suite, and all that they depend on, below `root`, with lists and a state that are not the
 * host's: nothing is installed. `dir` is for what comes on the way.
 */
export async function unpackUnstable(
  names: readonly string[],
  dir: string,
  root: string,
): Promise<void> {
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
  const install = ["install", "-y", "--no-install-recommends", "--download-only", ...names];
  await run(["apt-get", "-q", ...options, ...install]);
  for (const file of (await readdir(archives)).filter((one) => one.endsWith(".deb"))) {
    await run(["dpkg-deb", "-x", join(archives, file), root]);
  }
}
