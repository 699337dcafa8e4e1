import { posix } from "node:path";
import { failedPrecondition, notFound } from "../../lib/errors.ts";

/** What is at a path, as `stat` of the transfer role reports it. */
export interface Found {
  readonly kind: "file" | "directory" | "other" | "absent";
  /** The path behind all links, of what is there. */
  readonly path: string;
  /** Whether the directory that it is in is there. */
  readonly hasParent: boolean;
}

/** One side of a copy as a person writes it, and what is there. */
export interface Side {
  readonly text: string;
  readonly found: Found;
}

export interface CopyPlan {
  /** What the archive has, called `name` in it; `.` is the contents of a directory. */
  readonly name: string;
  /** An existing directory, into which it is unpacked. */
  readonly directory: string;
}

/**
 * The rules of `docker cp`: into a directory that is there, or as the name that is not there yet; `/.` at the end of a
 * source is its contents; a slash at the end of a destination wants a directory.
 */
export function planCopy(source: Side, destination: Side): CopyPlan {
  const { found: from } = source;
  const { found: to } = destination;
  if (from.kind === "absent") throw notFound(`copy from ${source.text}: nothing is there`);
  const wantsDirectory = (text: string) => /(^|\/)\.?$/.test(text);
  if (from.kind !== "directory" && wantsDirectory(source.text)) {
    throw failedPrecondition(`copy from ${source.text}: not a directory`);
  }
  if (to.kind === "directory") {
    const isContents = from.kind === "directory" && /(^|\/)\.$/.test(source.text);
    return { name: isContents ? "." : nameOf(source), directory: to.path };
  }
  const directory = posix.dirname(to.path);
  if (to.kind !== "absent") {
    if (from.kind === "directory") {
      throw failedPrecondition(`copy to ${destination.text}: a directory cannot replace a file`);
    }
    return { name: posix.basename(to.path), directory };
  }
  if (from.kind !== "directory" && wantsDirectory(destination.text)) {
    throw failedPrecondition(`copy to ${destination.text}: no such directory`);
  }
  if (!to.hasParent) throw notFound(`copy to ${destination.text}: no directory ${directory}`);
  return { name: posix.basename(to.path), directory };
}

/** `/` and `..` have none of their own. */
function nameOf({ text, found }: Side): string {
  const name = posix.basename(posix.normalize(`/${text}`));
  return name === "" ? posix.basename(found.path) || "." : name;
}

/** `CONTAINER:PATH`, or a path of this node: one that begins with a slash or a dot, or has no colon; `-` is a tar stream. */
export function parsePlace(
  text: string,
):
  | { readonly kind: "container"; readonly key: string; readonly path: string }
  | { readonly kind: "node"; readonly path: string }
  | { readonly kind: "stream" } {
  if (text === "-") return { kind: "stream" };
  const colon = text.indexOf(":");
  if (colon < 0 || /^[./]/.test(text)) return { kind: "node", path: text };
  return { kind: "container", key: text.slice(0, colon), path: text.slice(colon + 1) };
}
