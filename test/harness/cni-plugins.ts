import { symlinkSync } from "node:fs";
import { resolve } from "node:path";

const cache = resolve(import.meta.dir, "../../.cache/embed");
const commands = ["bridge", "host-local", "portmap", "firewall", "bandwidth", "loopback"];

/** Fills `dir` with the CNI plugins as the build has made them: one program under several names. */
export function linkCniPlugins(dir: string): void {
  const built = [...new Bun.Glob("cni-plugins-*/plugins").scanSync(cache)].sort().at(-1);
  if (built === undefined) throw new Error("no CNI plugins: run the build first");
  for (const command of commands) symlinkSync(`${cache}/${built}`, `${dir}/${command}`);
}
