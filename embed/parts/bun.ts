import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cached, repository } from "../cache.ts";
import { run } from "../command.ts";
import type { Target } from "../target.ts";

/** Bun itself for another processor, from its npm package: what bun.lock has of it is what it must be. */
export async function fetchBun(target: Target): Promise<string> {
  const name = `${target.bun.package}@${Bun.version}`;
  const integrity = await lockedIntegrity(name);
  const built = await cached(`bun${target.suffix}`, [name, integrity], async (directory) => {
    await run(["npm", "pack", "--silent", "--ignore-scripts", name], { cwd: directory });
    const [archive = ""] = await readdir(directory);
    const bytes = await Bun.file(join(directory, archive)).bytes();
    const found = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
    if (found !== integrity) throw new Error(`${name} is not the one of bun.lock: ${found}`);
    await run(["tar", "-xzf", archive, "--strip-components=2", "package/bin/bun"], {
      cwd: directory,
    });
    await rm(join(directory, archive));
  });
  return join(built, "bun");
}

async function lockedIntegrity(name: string): Promise<string> {
  const lock = await Bun.file(join(repository, "bun.lock")).text();
  const line = lock.split("\n").find((one) => one.includes(`["${name}",`));
  const [integrity] = line?.match(/sha512-[A-Za-z0-9+/=]+/) ?? [];
  if (integrity === undefined) throw new Error(`bun.lock has no ${name}`);
  return integrity;
}
