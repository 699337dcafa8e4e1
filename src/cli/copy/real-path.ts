import { lstatSync, readlinkSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";

const maxLinks = 40;

/**
 * The path behind all links, below whatever the root of this process is: Bun's own realpath(3) asks /proc, which in the
 * root of a container is another's. Throws ENOENT like lstat(2) where nothing is.
 */
export function realPath(path: string): string {
  let links = 0;
  let done = "";
  const left = path.split("/").filter((part) => part !== "");
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === ".") continue;
    if (part === "..") {
      done = done.slice(0, Math.max(0, done.lastIndexOf("/")));
      continue;
    }
    const next = `${done}/${part}`;
    if (!lstatSync(next).isSymbolicLink()) {
      done = next;
      continue;
    }
    links++;
    if (links > maxLinks) throw failedPrecondition(`${path}: too many levels of symbolic links`);
    const target = readlinkSync(next);
    if (target.startsWith("/")) done = "";
    left.unshift(...target.split("/").filter((one) => one !== ""));
  }
  return done === "" ? "/" : done;
}
