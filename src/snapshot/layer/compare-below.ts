import { open } from "node:fs/promises";
import { findStatus, isDirectory, isRegularFile } from "../../os/file/inode.ts";
import { pathOf, type Segments, showName } from "../tar/entry-name.ts";
import { describeFile } from "./describe-file.ts";
import { showingAt } from "./inherit-metadata.ts";

const pieceBytes = 1 << 20;

/**
 * Compares files that a layer has and its archive has not with the layers below (`lower`, highest first), where they
 * must be from: directories on the way to what the archive has, and files that it links to. Returns what is wrong.
 */
export async function compareBelow(
  fs: string,
  lower: readonly string[],
  extras: readonly string[],
): Promise<string | undefined> {
  for (const name of extras) {
    const path = name.split("/");
    const [below] = showingAt(lower, path);
    const here = at(fs, path);
    const status = findStatus(here);
    if (status === undefined) return `${showName(path)} is missing`;
    const there = below === undefined ? undefined : at(below, path);
    const model = there && findStatus(there);
    // A directory that no layer describes: there is nothing below, or what is no directory.
    if (isDirectory(status) && !isDirectory(model)) continue;
    if (there === undefined) return `${showName(path)} should not be there`;
    const found = describeFile(here, status);
    const expected = model && describeFile(there, model);
    if (found !== expected) return `${showName(path)} is ${found} and not ${expected}`;
    if (isRegularFile(status) && !(await areEqual(here, there)))
      return `${showName(path)} has other content`;
  }
  return undefined;
}

async function areEqual(a: Buffer, b: Buffer): Promise<boolean> {
  await using first = await open(a, "r");
  await using second = await open(b, "r");
  const [here, there] = [Buffer.alloc(pieceBytes), Buffer.alloc(pieceBytes)];
  for (;;) {
    const { bytesRead } = await first.read(here, 0, pieceBytes, null);
    const other = await second.read(there, 0, pieceBytes, null);
    if (bytesRead !== other.bytesRead) return false;
    if (bytesRead === 0) return true;
    if (!here.subarray(0, bytesRead).equals(there.subarray(0, bytesRead))) return false;
  }
}

function at(layer: string, path: Segments): Buffer {
  return Buffer.concat([Buffer.from(layer), pathOf(path)]);
}
