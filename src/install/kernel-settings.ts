import { writeFileSync } from "node:fs";
import { describe } from "../lib/errors.ts";
import { sysctls } from "./node-files.ts";

/** Returns what went wrong, a line each: a kernel may have the module built in, or none. */
export async function loadModules(): Promise<readonly string[]> {
  const warnings: string[] = [];
  for (const name of ["overlay", "br_netfilter"]) {
    try {
      const child = Bun.spawn(["modprobe", "-q", name], { stdio: ["ignore", "ignore", "ignore"] });
      await child.exited;
    } catch (err) {
      warnings.push(`modprobe ${name}: ${describe(err)}`);
    }
  }
  return warnings;
}

/** For now; /etc/sysctl.d says it for the next boots. Returns what the kernel did not take, a line each. */
export function setSysctls(): readonly string[] {
  return sysctls.flatMap(([name, value]) => {
    try {
      writeFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, value);
      return [];
    } catch (err) {
      return [`sysctl ${name}: ${describe(err)}`];
    }
  });
}
