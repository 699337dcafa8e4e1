import { readSync, writeSync } from "node:fs";

/** All of the bytes, however many calls it takes. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
}

/** Fills `into`; returns how far, less only at the end. */
export function readFully(fd: number, into: Uint8Array): number {
  let at = 0;
  while (at < into.byteLength) {
    const count = readSync(fd, into, at, into.byteLength - at, null);
    if (count === 0) break;
    at += count;
  }
  return at;
}
