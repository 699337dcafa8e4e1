/**
 * bun test/guest/critest.ts [--crib FILE] [--focus REGEX] [--skip REGEX]
 *
 * critest in a guest: Debian's kernel, cgroup version 2 alone, no systemd, a read-only root, AppArmor. About
 * a quarter of an hour.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { judge, parseJunit, pinnedDigestSpec, type Verdict } from "../critest/expected.ts";
import { formatVerdict } from "../critest/run.ts";
import { repositoryDir } from "../parts/paths.ts";
import { runScript } from "./scenario.ts";

export interface GuestCritestOptions {
  readonly crib?: string;
  readonly focus?: readonly string[];
  readonly skip?: readonly string[];
  readonly outDir?: string;
  readonly progress?: (line: string) => void;
}

const minutes = 60;
/** critest tries an id-mapped mount of /run, and skips: tmpfs has them since Linux 6.3, Debian 12 has 6.1. */
const needsLinux63 = /^ID mapping is not supported with path: \/run\b/u;

export async function runGuestCritest(options: GuestCritestOptions): Promise<Verdict> {
  const outDir = options.outDir ?? join(repositoryDir, ".cache/guest/critest");
  const skip = [pinnedDigestSpec.source, ...(options.skip ?? [])];
  const args = [
    `-ginkgo.timeout=${minutes}m`,
    ...skip.map((regex) => `-ginkgo.skip=${regex}`),
    ...(options.focus ?? []).map((regex) => `-ginkgo.focus=${regex}`),
  ];
  await runScript("critest.sh", {
    files: { arguments: args.map((arg) => `${arg}\n`).join("") },
    outDir,
    timeoutMs: (minutes + 5) * 60_000,
    ...(options.crib === undefined ? {} : { crib: options.crib }),
    ...(options.progress === undefined ? {} : { progress: options.progress }),
  });
  const report = Bun.file(join(outDir, "junit.xml"));
  if (!(await report.exists())) throw new Error(`critest left no report; see ${outDir}`);
  const appArmor = await Bun.file(join(outDir, "apparmor")).text();
  const verdict = judge(parseJunit(await report.text()), {
    release: "1.36.0",
    hasAppArmor: appArmor.trim() === "Y",
    isPartial: true,
  });
  const impossible = verdict.wrong.filter(
    ({ status, message }) => status === "skipped" && needsLinux63.test(message),
  );
  const wrong = verdict.wrong.filter((spec) => !impossible.includes(spec));
  return {
    ...verdict,
    wrong,
    leftOut: [...verdict.leftOut, ...impossible],
    isAcceptable: verdict.incomplete === undefined && wrong.length === 0,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      crib: { type: "string" },
      focus: { type: "string", multiple: true },
      skip: { type: "string", multiple: true },
      out: { type: "string" },
    },
  });
  const { out, crib, ...rest } = values;
  const verdict = await runGuestCritest({
    ...rest,
    ...(crib === undefined ? {} : { crib }),
    ...(out === undefined ? {} : { outDir: out }),
    progress: (line) => console.log(line),
  });
  console.log(formatVerdict(verdict));
  process.exitCode = verdict.isAcceptable ? 0 : 1;
}
