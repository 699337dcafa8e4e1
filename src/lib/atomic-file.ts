import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/**
 * Writes a whole file so that a reader, or a power cut, sees either the old or the new content.
 * The file and its directory are on disk when this returns, unless it is `brief`: of no use after a reboot.
 */
export function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  options: { readonly mode?: number; readonly brief?: boolean } = {},
): void {
  const temporary = `${path}.${randomName()}.tmp`;
  try {
    const fd = openSync(temporary, "wx", options.mode ?? 0o600);
    try {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      if (options.brief !== true) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (err) {
    rmSync(temporary, { force: true });
    throw err;
  }
  if (options.brief !== true) syncPath(dirname(path));
}

/** Removes what writers of `directory` left that were killed in the middle. There must be no other writer now. */
export function removeUnfinished(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (/\.[0-9a-f]{12}\.tmp$/.test(name)) rmSync(`${directory}/${name}`, { force: true });
  }
}

/** Not from node:crypto, which would cost every monitor 0.9 MB. */
function randomName(): string {
  return crypto.getRandomValues(new Uint8Array(6)).toHex();
}

/** Makes a file durable, or, of a directory, renames and new entries in it. */
export function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
