import { readdirSync, readFileSync, statSync } from "node:fs";
import { describe } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { type Conflist, maxConflistBytes, parseConflist } from "./conflist.ts";

/** The network of a configuration directory, or why there is none. */
export type Configured =
  | { readonly conflist: Conflist; readonly path: string }
  | {
      readonly reason: string;
    };

/** Looks for network configurations in directories that others write at any time. */
export interface ConfDirs {
  /** The network in force now. Costs a few stat calls while nothing has changed. Never throws. */
  current(): Configured;
}

const extensions = [".conflist", ".conf", ".json"];
const maxFiles = 256;

interface ConfFile {
  readonly path: string;
  /** Changes whenever the content may have. */
  readonly stamp: string;
}

/** The first directory with a valid file wins, and in it the first file by name. Directories may come, go and change. */
export function openConfDirs(dirs: readonly string[]): ConfDirs {
  let known: { readonly stamp: string; readonly configured: Configured } | undefined;
  return {
    current() {
      const files = dirs.flatMap(listFiles);
      const stamp = files.map((file) => file.stamp).join("\n");
      if (known?.stamp !== stamp) known = { stamp, configured: choose(files, dirs) };
      return known.configured;
    },
  };
}

function listFiles(dir: string): readonly ConfFile[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch {
    return []; // Not there (yet): the network provider brings it.
  }
  return names
    .filter((name) => extensions.some((extension) => name.endsWith(extension)))
    .sort()
    .slice(0, maxFiles)
    .map((name) => {
      const path = `${dir}/${name}`;
      return { path, stamp: `${path} ${stampOf(path)}` };
    });
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (err) {
    return isErrno(err, "ENOENT") ? "absent" : "unreadable";
  }
}

function choose(files: readonly ConfFile[], dirs: readonly string[]): Configured {
  let firstFault: string | undefined;
  for (const { path } of files) {
    try {
      return { conflist: readConfFile(path), path };
    } catch (err) {
      firstFault ??= describe(err);
    }
  }
  return { reason: firstFault ?? `no network configuration in ${dirs.join(", ")}` };
}

function readConfFile(path: string): Conflist {
  const info = statSync(path);
  // A pipe or a device would block the daemon.
  if (!info.isFile()) throw new Error(`${path}: not a regular file`);
  if (info.size > maxConflistBytes) throw new Error(`${path}: over ${maxConflistBytes} bytes`);
  return parseConflist(readFileSync(path), path);
}
