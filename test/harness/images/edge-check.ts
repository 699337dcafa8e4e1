import { lstat, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../parts/run.ts";
import { type ExpectedFile, edgeFiles } from "./edge-images.ts";

const fileTypeMask = 0o170000;

const fileTypes = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  fifo: 0o010000,
  "character-device": 0o020000,
  "block-device": 0o060000,
} as const satisfies Record<ExpectedFile["type"], number>;

/**
 * What is wrong with `/edge` of `crib-test/edge:latest` as it stands under `root`: an unpacked directory, or
 * `/proc/PID/root` of a container. Empty when all is right. Needs root.
 */
export async function edgeDifferences(root: string): Promise<readonly string[]> {
  const dir = join(root, "edge");
  const differences: string[] = [];
  for (const expected of edgeFiles) {
    for (const difference of await fileDifferences(dir, expected)) {
      differences.push(`${expected.path}: ${difference}`);
    }
  }
  const known = new Set(edgeFiles.flatMap((file) => withParents(file.path)));
  // Not readdir(): a recursive one goes through symbolic links.
  const found = await run(["find", dir, "-mindepth", "1", "-printf", "%P\\0"]);
  for (const path of found.split("\0").filter((name) => name !== "" && !known.has(name))) {
    differences.push(`${path}: should not be there`);
  }
  return differences;
}

async function fileDifferences(dir: string, expected: ExpectedFile): Promise<readonly string[]> {
  const path = join(dir, expected.path);
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return ["missing"];
  const isDevice = expected.major !== undefined;
  const actual = {
    type: found.mode & fileTypeMask,
    mode: (found.mode & ~fileTypeMask).toString(8),
    uid: found.uid,
    gid: found.gid,
    links: found.nlink,
    mtime: found.mtimeMs / 1000,
    device: found.rdev,
    content: expected.content === undefined || !found.isFile() ? "" : await readFile(path, "utf8"),
    target: found.isSymbolicLink() ? await readlink(path) : "",
  };
  const wanted = {
    type: fileTypes[expected.type],
    mode: expected.mode.toString(8),
    uid: expected.uid,
    gid: expected.gid,
    links: expected.links ?? actual.links,
    mtime: expected.mtime ?? actual.mtime,
    // makedev(3) for small numbers.
    device: isDevice ? (expected.major ?? 0) * 256 + (expected.minor ?? 0) : actual.device,
    content: expected.content ?? "",
    target: expected.target ?? "",
  };
  const differences = Object.entries(wanted)
    .filter(([key, value]) => actual[key as keyof typeof actual] !== value)
    .map(([key, value]) => `${key} is ${actual[key as keyof typeof actual]}, not ${value}`);
  for (const [name, value] of Object.entries(expected.xattrs ?? {})) {
    const hex = await xattr(path, name);
    if (hex !== value) differences.push(`${name} is ${hex}, not ${value}`);
  }
  return differences;
}

async function xattr(path: string, name: string): Promise<string> {
  const text = await run([
    ...["getfattr", "--absolute-names", "--no-dereference", "--encoding=hex"],
    ...["--name", name, "--", path],
  ]).catch(() => "");
  return /=0x([0-9a-f]*)$/mu.exec(text)?.[1] ?? "missing";
}

function withParents(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.map((_part, index) => parts.slice(0, index + 1).join("/"));
}
