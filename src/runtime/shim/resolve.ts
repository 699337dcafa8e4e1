import { accessSync, constants, statSync } from "node:fs";
import { invalidArgument, notFound } from "../../lib/errors.ts";
import { childEnv } from "../../os/process/role.ts";

/** `io.containerd.runsc.v1` */
const runtimeName = /^(?:[a-z0-9]+\.)+([a-z0-9-]+)\.(v[0-9]+)$/;

/** The name of the program that a containerd name stands for: its last two parts. */
export function shimProgramName(name: string): string {
  const [, kind, version] = runtimeName.exec(name) ?? [];
  if (kind === undefined) {
    throw invalidArgument(
      `${JSON.stringify(name.slice(0, 100))} is neither an absolute path nor a name like io.containerd.runsc.v1`,
    );
  }
  return `containerd-shim-${kind}-${version}`;
}

/** Where shims and what they run are looked for: as containerd does it, in PATH and beside the daemon's own program. */
export function shimSearchPath(programDirs: readonly string[]): string {
  return [...(childEnv["PATH"] ?? "").split(":"), ...programDirs].join(":");
}

/** The absolute path of a shim, given as such or by containerd's name of the runtime. */
export function resolveShim(name: string, searchPath: string): string {
  if (name.startsWith("/")) {
    if (isProgram(name)) return name;
    throw notFound(`${name}: no such program`);
  }
  const program = shimProgramName(name);
  const found = searchPath
    .split(":")
    .map((dir) => `${dir}/${program}`)
    .find(isProgram);
  if (found !== undefined) return found;
  throw notFound(`${name}: there is no ${program} in ${searchPath}`);
}

/** The program in one of the directories; `undefined` where it is in none. */
export function findProgram(name: string, searchPath: string): string | undefined {
  if (name.startsWith("/")) return isProgram(name) ? name : undefined;
  return searchPath
    .split(":")
    .map((dir) => `${dir}/${name}`)
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
