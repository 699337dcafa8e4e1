import { expect, test } from "bun:test";
import { callNumber, systemCalls } from "./seccomp.ts";

for (const arch of ["x64", "arm64"] as const) {
  const known = await kernelCalls(arch);

  test.skipIf(known === undefined)(`the numbers of calls are the kernel's on ${arch}`, () => {
    const numbers = systemCalls.map((call) => [call, callNumber(call, arch)]);
    expect(numbers).toEqual(systemCalls.map((call) => [call, known?.get(call)]));
  });
}

/** As the C preprocessor finds them in the kernel's headers, where there are both; arm64 has the generic ones. */
async function kernelCalls(arch: "x64" | "arm64"): Promise<Map<string, number> | undefined> {
  const header = arch === "x64" ? "asm/unistd_64.h" : "asm-generic/unistd.h";
  if (Bun.which("gcc") === null) return undefined;
  await using gcc = Bun.spawn(["gcc", "-E", "-dM", "-include", header, "-xc", "/dev/null"], {
    stdout: "pipe",
    stderr: "ignore",
  });
  const text = await gcc.stdout.text();
  if ((await gcc.exited) !== 0) return undefined;
  const lines = text.matchAll(/^#define __NR_(\w+) (\d+)$/gm);
  return new Map([...lines].map(([, name = "", number]) => [name, Number(number)]));
}
