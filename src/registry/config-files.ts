import { readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { failedPrecondition } from "../lib/errors.ts";
import { isErrno } from "../os/errno-error.ts";
import type { PemFile } from "./hosts/registry-host.ts";

const maxFileBytes = 1 << 20;

/**
 * Receives what is wrong with one entry of a file, in one line that names the file. The entry is then left out: a mistake
 * costs what the entry is about and no other pull.
 */
export type Warn = (problem: string) => void;

/** A configuration file's text; undefined when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    const { size } = statSync(path);
    if (size > maxFileBytes) throw failedPrecondition(`${path}: over ${maxFileBytes} bytes`);
    return readFileSync(path, "utf8");
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return undefined;
    throw failedPrecondition(`read ${path}`, err);
  }
}

/** A PEM file that a configuration in `dir` names. */
export function readPem(dir: string, path: string, what: string): PemFile {
  const file = isAbsolute(path) ? path : join(dir, path);
  const pem = readIfThere(file);
  if (pem === undefined) throw failedPrecondition(`${what}: ${file} does not exist`);
  if (!pem.includes("-----BEGIN ")) throw failedPrecondition(`${what}: ${file} is no PEM file`);
  return { path: file, pem };
}
