import { chmodSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { executable } from "./payload.ts";

/** The same program with other bytes: what follows the launcher is found from the end. */
export function otherBuild(path: string): void {
  copyFileSync(executable, path);
  const bytes = readFileSync(path);
  // In the ELF header's padding (elf(5), EI_PAD), which nobody reads.
  bytes[15] = 1;
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
}

/** A program that prints what crib prints when it is asked, and as a daemon does what `serve`, in C, says. */
export function makeImpostor(path: string, serve: string, ...options: readonly string[]): string {
  const source = `#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "serve") == 0) { ${serve} }
  puts("{\\"crib\\": \\"9.9.9\\"}");
  return 0;
}
`;
  writeFileSync(`${path}.c`, source);
  const { exitCode, stderr } = Bun.spawnSync(["gcc", ...options, "-o", path, `${path}.c`]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return path;
}
