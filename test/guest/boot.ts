/**
 * bun test/guest/boot.ts [--arch ARCH] [--script FILE] [--crib FILE] [--data DISK] [--out DIR] [--minutes N] [COMMAND]
 *
 * Boots a virtual machine as guest.ts makes it, runs the script or the command in it, shows its console, and ends
 * with the exit code of what ran. --data keeps /var/lib in that file for the next boot; it is made if missing.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { repositoryDir } from "../parts/paths.ts";
import { makeDataDisk } from "./disks.ts";
import { runGuest } from "./guest.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arch: { type: "string" },
    script: { type: "string" },
    crib: { type: "string" },
    data: { type: "string" },
    out: { type: "string", default: join(repositoryDir, ".cache/guest/out") },
    minutes: { type: "string", default: "60" },
  },
});
if (values.data !== undefined && !(await Bun.file(values.data).exists())) {
  await makeDataDisk(values.data);
}
const result = await runGuest({
  script:
    values.script === undefined
      ? `${positionals.join(" ")}\n`
      : await Bun.file(values.script).text(),
  ...(values.data === undefined ? {} : { dataDisk: values.data }),
  ...(values.arch === undefined ? {} : { arch: values.arch }),
  ...(values.crib === undefined ? {} : { crib: values.crib }),
  outDir: values.out,
  timeoutMs: Number(values.minutes) * 60_000,
  progress: (line) => console.log(line),
});
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
console.log(`guest: up after ${seconds(result.bootMs)}, off after ${seconds(result.totalMs)}`);
process.exitCode = result.exitCode ?? 0;
