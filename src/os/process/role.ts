import type { Argv } from "./spawn.ts";

/**
 * This program again, in another role (main.ts). Children get this environment and nothing of ours:
 * BUN_* variables and secrets of the daemon's environment stay behind.
 */
export function roleArgv(role: string, ...args: readonly string[]): Argv {
  // In a compiled executable the program is the file itself; under `bun src/main.ts` it is bun and the script.
  const script = Bun.main.startsWith("/$bunfs/") ? [] : [Bun.main];
  return [process.execPath, ...script, role, ...args];
}

/** The environment of every child: enough for iptables and friends to be found. */
export const childEnv: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LANG: "C.UTF-8",
};
