import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { parts } from "../parts/paths.ts";

/** Whether gVisor is to be tested (CRIB_TEST_GVISOR=1). */
export const hasGvisor = process.env["CRIB_TEST_GVISOR"] === "1";

// Asked for and not there is no reason to skip.
for (const program of hasGvisor ? [parts.shims.runsc, parts.shims.gvisor] : []) {
  if (existsSync(program)) continue;
  throw new Error(`CRIB_TEST_GVISOR=1, and ${program} is not there: bun test/parts/setup.ts`);
}

/**
 * gVisor's shim with runsc beside it, in `dir`. It wants to protect itself from the OOM killer, and does without only in
 * a user namespace: where the test has no CAP_SYS_RESOURCE it is made to believe that it is in one.
 */
export function installGvisor(dir: string): string {
  mkdirSync(dir, { recursive: true });
  const shim = `${dir}/containerd-shim-runsc-v1`;
  writeFileSync(`${dir}/uid_map`, "0 1 1\n");
  writeFileSync(
    shim,
    `#!/bin/sh\nmount --bind ${dir}/uid_map /proc/$$/uid_map\nexec ${parts.shims.gvisor} "$@"\n`,
    { mode: 0o755 },
  );
  if (!existsSync(`${dir}/runsc`)) symlinkSync(parts.shims.runsc, `${dir}/runsc`);
  return shim;
}
