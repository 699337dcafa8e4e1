import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { parts } from "../parts/paths.ts";

/** Whether gVisor is there to be tested (CRIB_TEST_GVISOR=1), and asked for. */
export const hasGvisor = process.env["CRIB_TEST_GVISOR"] === "1" && existsSync(parts.shims.runsc);

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
