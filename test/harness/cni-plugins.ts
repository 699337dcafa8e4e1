import { symlinkSync } from "node:fs";
import { findBuilt } from "./built.ts";

const commands = ["bridge", "host-local", "portmap", "firewall", "bandwidth", "loopback"];

/** Fills `dir` with the CNI plugins as the build has made them: one program under several names. */
export function linkCniPlugins(dir: string): void {
  const built = findBuilt("cni-plugins", "plugins");
  for (const command of commands) symlinkSync(built, `${dir}/${command}`);
}
