import { mkdtempSync, rmSync } from "node:fs";

export interface TempDir extends Disposable {
  readonly path: string;
}

/** A directory of the test's own, on tmpfs when it is for sockets and mounts (`/run`). */
export function tempDir(parent = "/tmp"): TempDir {
  const path = mkdtempSync(`${parent}/crib-test-`);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
