/**
 * bun test/critest/run.ts --socket PATH [--release VERSION] [--nri-socket PATH] [--focus REGEX] [--skip REGEX]
 *   [--parallel N] [--out DIR]
 *
 * Runs critest against a runtime whose mirrors lead to the test registry (`writeMirrors`), as root and in the
 * runtime's own mount and network namespaces. Ends with exit code 0 if `expected.ts` accepts the result.
 */

import { mkdir, rm } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { parts, repositoryDir } from "../parts/paths.ts";
import {
  judge,
  parseJunit,
  pinnedDigestSpec,
  type Release,
  registeredSpecs,
  type SpecResult,
  type Verdict,
} from "./expected.ts";

export interface CritestOptions {
  readonly release: Release;
  /** Path of the CRI socket, without `unix://`. */
  readonly socket: string;
  /** Where the runtime takes NRI plugins. */
  readonly nriSocket?: string;
  /** Regular expressions on spec names, in Go's syntax. */
  readonly focus?: readonly string[];
  readonly skip?: readonly string[];
  readonly parallel?: number;
  /** Further flags, as critest has them. */
  readonly flags?: readonly string[];
  /** Where `junit.xml` and `critest.log` are left. */
  readonly outDir?: string;
  /** Gets a line now and then while the specs run. */
  readonly progress?: (line: string) => void;
}

/** All specs take under three minutes; critest alone would wait an hour for one that hangs. */
const timeout = "20m";

export async function runCritest(options: CritestOptions): Promise<Verdict> {
  const outDir = options.outDir ?? join(repositoryDir, ".cache/critest");
  const reportFile = join(outDir, "junit.xml");
  const errorFile = join(outDir, "critest.err");
  await mkdir(outDir, { recursive: true });
  for (const file of [reportFile, errorFile]) await rm(file, { force: true });

  const focus = options.focus ?? [];
  const skip = options.skip ?? [];
  const { critest, ginkgo } = parts.critest[options.release];
  const nriFlags =
    options.nriSocket === undefined || options.release === "1.36.0"
      ? []
      : [`-nri-socket=${options.nriSocket}`];
  const child = Bun.spawn(
    [
      critest,
      `-runtime-endpoint=unix://${options.socket}`,
      // Said too, lest a crictl.yaml that happens to lie in /etc or beside the program decides it.
      `-image-endpoint=unix://${options.socket}`,
      ...nriFlags,
      ...["-ginkgo.v", "-ginkgo.no-color", `-ginkgo.timeout=${timeout}`],
      `-ginkgo.junit-report=${reportFile}`,
      ...[pinnedDigestSpec.source, ...skip].map((regex) => `-ginkgo.skip=${regex}`),
      ...focus.map((regex) => `-ginkgo.focus=${regex}`),
      ...(options.flags ?? []),
      // critest looks for the ginkgo command to do this.
      ...(options.parallel === undefined || options.parallel < 2
        ? []
        : [`-parallel=${options.parallel}`]),
    ],
    {
      cwd: outDir,
      stdin: "ignore",
      stdout: "pipe",
      stderr: Bun.file(errorFile),
      env: { ...process.env, PATH: `${dirname(ginkgo)}${delimiter}${process.env["PATH"]}` },
    },
  );
  await follow(child.stdout, join(outDir, "critest.log"), options.progress ?? (() => {}));
  const exitCode = await child.exited;

  const report = Bun.file(reportFile);
  if (!(await report.exists())) {
    throw new Error(`critest: exit code ${exitCode} and no report; see critest.log in ${outDir}`);
  }
  return judge(parseJunit(await report.text()), {
    release: options.release,
    hasAppArmor: await hasAppArmor(),
    isPartial: focus.length > 0 || skip.length > 0,
  });
}

async function hasAppArmor(): Promise<boolean> {
  const file = Bun.file("/sys/module/apparmor/parameters/enabled");
  return (await file.exists()) && (await file.text()).trim() === "Y";
}

const progressEvery = 20;

/** Keeps all that critest says in the log; tells of failures at once and of the rest in round numbers. */
async function follow(
  stream: ReadableStream<Uint8Array>,
  logFile: string,
  progress: (line: string) => void,
): Promise<void> {
  const log = Bun.file(logFile).writer();
  const decoder = new TextDecoder();
  let rest = "";
  let hasFailed = false;
  let done = 0;
  for await (const chunk of stream) {
    log.write(chunk);
    await log.flush();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      // The name stands below the verdict.
      if (hasFailed) progress(`  failed: ${line.replace("[It] ", "")}`);
      hasFailed = line.startsWith("• [FAILED]");
      if (!/^(?:• |S \[SKIPPED\])/u.test(line)) continue;
      done += 1;
      if (done % progressEvery === 0) progress(`  ${done} specs have run`);
    }
  }
  await log.end();
}

export function formatVerdict(verdict: Verdict): string {
  const list = (title: string, specs: readonly SpecResult[]): readonly string[] =>
    specs.length === 0
      ? []
      : [title, ...specs.map((spec) => `  ${spec.status} ${spec.name}${reason(spec)}`)];
  const all = [...verdict.passed, ...verdict.wrong, ...verdict.leftOut];
  const count = (status: SpecResult["status"]): number =>
    all.filter((spec) => spec.status === status && spec.name.startsWith("[k8s.io]")).length;
  return [
    ...list(
      "cannot run here:",
      verdict.leftOut.filter((spec) => spec.message !== "" || pinnedDigestSpec.test(spec.name)),
    ),
    ...list("REQUIRED AND NOT PASSED:", verdict.wrong),
    ...(verdict.incomplete === undefined ? [] : [`INCOMPLETE: ${verdict.incomplete}`]),
    `critest: ${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped`,
  ].join("\n");
}

export function parseRelease(text: string): Release {
  if (text in registeredSpecs) return text as Release;
  throw new Error(`no critest ${text}: there is ${Object.keys(registeredSpecs).join(", ")}`);
}

function reason(spec: SpecResult): string {
  const line = spec.message.split("\n", 1)[0] ?? "";
  return line === "" ? "" : ` (${line})`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      socket: { type: "string" },
      release: { type: "string", default: "1.36.0" },
      "nri-socket": { type: "string" },
      focus: { type: "string", multiple: true },
      skip: { type: "string", multiple: true },
      parallel: { type: "string" },
      out: { type: "string" },
    },
  });
  if (values.socket === undefined) throw new Error("--socket PATH is missing");
  const verdict = await runCritest({
    release: parseRelease(values.release),
    socket: values.socket.replace(/^unix:\/\//u, ""),
    focus: values.focus ?? [],
    skip: values.skip ?? [],
    ...(values["nri-socket"] === undefined ? {} : { nriSocket: values["nri-socket"] }),
    ...(values.parallel === undefined ? {} : { parallel: Number(values.parallel) }),
    ...(values.out === undefined ? {} : { outDir: values.out }),
    progress: (line) => console.log(line),
  });
  console.log(formatVerdict(verdict));
  process.exitCode = verdict.isAcceptable ? 0 : 1;
}
