import { createHash } from "node:crypto";
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { readAttributes } from "../../src/os/file/inode.ts";

/**
 * Everything below `root`, and itself, one line each, in an order that only names decide: name, type, permissions,
 * owner, time to the nanosecond, and of files size, digest and the first of the names they share, of links the target,
 * of devices the number, and all extended attributes. Two trees are the same when their lines are.
 */
export function listTree(root: string): readonly string[] {
  const lines: string[] = [];
  const firstNames = new Map<bigint, string>();
  const visit = (path: Buffer, name: Buffer): void => {
    const status = lstatSync(path, { bigint: true });
    lines.push(describeFile(path, name, status, firstNames));
    if (!status.isDirectory()) return;
    const names = readdirSync(path, { encoding: "buffer" }).sort(Buffer.compare);
    for (const each of names) {
      visit(join(path, each), name.equals(here) ? each : join(name, each));
    }
  };
  visit(Buffer.from(root), here);
  return lines;
}

const here = Buffer.from(".");

/** The lines that differ, `-` for the expected and `+` for the seen one, as many as help. */
export function diffTrees(
  expected: readonly string[],
  seen: readonly string[],
  maxLines = 40,
): readonly string[] {
  const [before, after] = [byName(expected), byName(seen)];
  const names = [...new Set([...before.keys(), ...after.keys()])];
  const differing = names.filter((name) => before.get(name) !== after.get(name));
  const lines = differing.flatMap((name) => [
    ...[before.get(name)].flatMap((line) => (line === undefined ? [] : `- ${line}`)),
    ...[after.get(name)].flatMap((line) => (line === undefined ? [] : `+ ${line}`)),
  ]);
  if (lines.length <= maxLines) return lines;
  return [...lines.slice(0, maxLines), `... and ${lines.length - maxLines} more`];
}

function byName(lines: readonly string[]): ReadonlyMap<string, string> {
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(" ")), line]));
}

function describeFile(
  path: Buffer,
  name: Buffer,
  status: BigIntStats,
  firstNames: Map<bigint, string>,
): string {
  const shown = printable(name);
  const xattrs = readAttributes(path).map(
    ([key, value]) => `${printable(key)}=${Buffer.from(value).toString("hex")}`,
  );
  const words = [
    shown,
    ...contentOf(path, status),
    (Number(status.mode) & 0o7777).toString(8).padStart(4, "0"),
    `${status.uid}:${status.gid}`,
    `${status.mtimeNs / 1_000_000_000n}.${String(status.mtimeNs % 1_000_000_000n).padStart(9, "0")}`,
    ...xattrs.sort(),
  ];
  if (!status.isDirectory() && status.nlink > 1n) {
    const first = firstNames.get(status.ino) ?? shown;
    firstNames.set(status.ino, first);
    words.push(`same=${first}`);
  }
  return words.join(" ");
}

function contentOf(path: Buffer, status: BigIntStats): readonly string[] {
  if (status.isFile()) return ["file", String(status.size), digestOfFile(path)];
  if (status.isDirectory()) return ["directory"];
  if (status.isSymbolicLink()) return ["link", printable(readlinkSync(path, "buffer"))];
  if (status.isFIFO()) return ["fifo"];
  if (status.isCharacterDevice()) return ["character", String(status.rdev)];
  if (status.isBlockDevice()) return ["block", String(status.rdev)];
  return ["socket"];
}

const piece = Buffer.allocUnsafe(1 << 20);

function digestOfFile(path: Buffer): string {
  const hash = createHash("sha256");
  const fd = openSync(path, "r");
  try {
    for (;;) {
      const length = readSync(fd, piece);
      if (length === 0) return hash.digest("hex");
      hash.update(piece.subarray(0, length));
    }
  } finally {
    closeSync(fd);
  }
}

function join(directory: Buffer, name: Uint8Array): Buffer {
  return Buffer.concat([directory, Buffer.from("/"), name]);
}

/** Names are bytes; what is no visible ASCII is written as `\xNN`, so that a line has no other spaces or ends. */
function printable(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("latin1")
    .replaceAll(
      /[^\x21-\x5b\x5d-\x7e]/g,
      (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
    );
}
