/**
 * bun test/critest/suite.ts [--report=FILE] [--release VERSION] [--handler runc-shim|gvisor] [--focus REGEX] [--skip REGEX] [--parallel N] [-- FLAG...]
 *
 * critest, of each release or of one, against `dist/crib` with the test registry, in network and mount namespaces of their own: what another
 * runtime, or an earlier run that was killed, has left on the machine (a rule for host port 12000, say) does not
 * meet it. The report has every spec once for each release. Needs root and what
 * `test/parts/setup.ts` makes.
 */

import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Daemon } from "../harness/daemon.ts";
import { installGvisor } from "../harness/gvisor.ts";
import { startRegistry, writeMirrors } from "../harness/registry-server.ts";
import { parts, repositoryDir } from "../parts/paths.ts";
import { type Release, registeredSpecs, type Verdict } from "./expected.ts";
import { formatVerdict, parseRelease, runCritest } from "./run.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    report: { type: "string" },
    release: { type: "string" },
    focus: { type: "string", multiple: true },
    skip: { type: "string", multiple: true },
    // Of the time most is waiting: 3 take 30 seconds on two cores, 1 takes 75.
    parallel: { type: "string", default: "3" },
    handler: { type: "string" },
    isolated: { type: "boolean" },
  },
});

process.exit(values.isolated === true ? await runHere() : await runIsolated());

async function runIsolated(): Promise<number> {
  const argv = [process.execPath, import.meta.path, "--isolated", ...process.argv.slice(2)];
  const loopback = 'ip link set lo up && exec "$@"';
  return await Bun.spawn(["unshare", "--net", "--mount", "sh", "-c", loopback, "sh", ...argv], {
    stdio: ["ignore", "inherit", "inherit"],
  }).exited;
}

async function runHere(): Promise<number> {
  const releases =
    values.release === undefined
      ? (Object.keys(registeredSpecs) as Release[])
      : [parseRelease(values.release)];
  const suites: string[] = [];
  let isAcceptable = true;
  for (const release of releases) {
    console.log(`critest v${release}`);
    const verdict = await judgeCrib(release);
    console.log(formatVerdict(verdict));
    suites.push(formatSuite(release, verdict));
    isAcceptable &&= verdict.isAcceptable;
  }
  if (values.report !== undefined) {
    await Bun.write(values.report, `<testsuites>\n${suites.join("\n")}\n</testsuites>\n`);
  }
  return isAcceptable ? 0 : 1;
}

async function judgeCrib(release: Release): Promise<Verdict> {
  const outDir = join(repositoryDir, ".cache/critest", release);
  await using rollback = new AsyncDisposableStack();
  const mirrors = await mkdtemp(join(tmpdir(), "mirrors-"));
  rollback.defer(() => rm(mirrors, { recursive: true, force: true }));
  const registry = rollback.use(await startRegistry());
  await writeMirrors(mirrors, registry.host);
  const config = values.handler === undefined ? "" : shimConfig(values.handler, mirrors);
  const daemon = rollback.use(await Daemon.start({ registryConfigDir: mirrors, config }));
  try {
    return await runCritest({
      release,
      socket: daemon.socket,
      nriSocket: daemon.nriSocket,
      outDir,
      focus: values.focus ?? [],
      skip: values.skip ?? [],
      parallel: Number(values.parallel),
      flags: positionals,
      progress: (line) => console.log(line),
    });
  } finally {
    // Its root goes with the daemon; whoever asks why a spec failed wants to read this.
    await copyFile(daemon.logFile, join(outDir, "daemon.log"));
  }
}

/** Pods that name no handler get this one. */
function shimConfig(handler: string, dir: string): string {
  const paths: Readonly<Record<string, () => string>> = {
    "runc-shim": () => parts.shims.runc,
    gvisor: () => installGvisor(`${dir}/shims`),
  };
  const path = paths[handler]?.();
  if (path === undefined) throw new Error(`--handler: one of ${Object.keys(paths).join(", ")}`);
  return `[runtime]\ndefault_handler = "${handler}"\n[runtime.handlers.${handler}]\ntype = "shim"\npath = "${path}"\n`;
}

function formatSuite(release: Release, result: Verdict): string {
  const cases = [
    ...result.passed
      .filter((spec) => spec.name.startsWith("[k8s.io]"))
      .map((spec) => ({ spec, outcome: "" })),
    ...result.wrong.map((spec) => ({ spec, outcome: "<failure/>" })),
    ...result.leftOut.map((spec) => ({ spec, outcome: "<skipped/>" })),
  ];
  const lines = cases.map(
    ({ spec, outcome }) => `<testcase name="${Bun.escapeHTML(spec.name)}">${outcome}</testcase>`,
  );
  return `<testsuite name="critest v${release}">\n${lines.join("\n")}\n</testsuite>`;
}
