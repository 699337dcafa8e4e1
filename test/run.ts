/**
 * README's second command: sets up what the tests need, runs everything, and ends with the counts of the reports.
 *
 *   bun test/run.ts [SUITE...]     only these suites: check unit executable integration e2e crash critest
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { addReport, type Counts } from "./report.ts";

interface Suite {
  readonly name: string;
  /** What must have run before: the executable, or the programs and images that the tests use. */
  readonly needs: readonly ("executable" | "parts")[];
  readonly commands: readonly (readonly string[])[];
}

const reports = ".cache/reports";
const bun = process.execPath;

/** When a test hangs. Not a measure of how fast it is to be: this machine may be slow, or busy. */
const hangMs = 600_000;

const bunTest = (name: string, timeoutMs: number, ...paths: readonly string[]) => [
  bun,
  "test",
  `--timeout=${timeoutMs}`,
  "--reporter=junit",
  `--reporter-outfile=${reports}/${name}.xml`,
  ...paths,
];

const suites: readonly Suite[] = [
  {
    name: "check",
    needs: [],
    commands: [
      ["buf", "lint", "proto"],
      ["biome", "ci", "--colors=off", "--error-on-warnings"],
      ["tsc"],
    ],
  },
  {
    name: "unit",
    needs: ["executable"], // for the C libraries that are built with it: without them a few tests are skipped
    commands: [
      bunTest("unit", 60_000, "src", "test/architecture.test.ts", "test/critest", "test/harness"),
    ],
  },
  {
    name: "executable",
    needs: ["executable"],
    commands: [
      ["go", "-C", "embed", "test", "./launcher"],
      bunTest("executable", hangMs, "./embed/"),
    ],
  },
  {
    name: "integration",
    needs: ["executable", "parts"],
    commands: [bunTest("integration", hangMs, "test/integration")],
  },
  {
    name: "e2e",
    needs: ["executable", "parts"],
    commands: [bunTest("e2e", hangMs, "test/e2e")],
  },
  {
    name: "crash",
    needs: ["executable", "parts"],
    commands: [bunTest("crash", hangMs, "test/crash")],
  },
  {
    name: "critest",
    needs: ["executable", "parts"],
    commands: [[bun, "test/critest/suite.ts", `--report=${reports}/critest.xml`]],
  },
  {
    // Skipped unless CRIB_TEST_GUEST=1.
    name: "guest",
    needs: ["executable", "parts"],
    commands: [bunTest("guest", 3_600_000, "test/guest")],
  },
];

const setUp = {
  executable: [bun, "embed/build.ts"],
  parts: [bun, "test/parts/setup.ts"],
} as const;

const wanted = process.argv.slice(2);
const chosen = suites.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });

const done = new Set<string>();
const totals: Counts = { passed: 0, failed: 0, skipped: 0 };
for (const suite of chosen) {
  for (const need of suite.needs.filter((one) => !done.has(one))) {
    if (!(await runSetUp(need))) fail(`${need} could not be set up`);
    done.add(need);
  }
  for (const command of suite.commands) {
    const passed = await run(suite.name, command);
    const report = Bun.file(`${reports}/${suite.name}.xml`);
    const counts = (await report.exists())
      ? addReport(totals, await report.text())
      : addReport(totals, passed ? 1 : 0);
    if (!passed && counts.failed === 0) totals.failed++;
  }
}
const summary = `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`;
writeFileSync(`${reports}/summary`, `${summary}\n`);
console.log(`\n${summary}`);
process.exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);

/** Much of it comes over networks, which fail for a moment: what is made already is not made again. */
async function runSetUp(need: keyof typeof setUp): Promise<boolean> {
  for (const pauseMs of [10_000, 60_000]) {
    if (await run(`set up: ${need}`, setUp[need])) return true;
    await Bun.sleep(pauseMs);
  }
  return await run(`set up: ${need}`, setUp[need]);
}

/** Runs a step with its output shown, and says how long it took. */
async function run(name: string, command: readonly string[]): Promise<boolean> {
  console.log(`\n── ${name}: ${command.map((word) => word.replace(bun, "bun")).join(" ")}`);
  const started = performance.now();
  const child = Bun.spawn([...command], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, PATH: `node_modules/.bin:${process.env["PATH"]}` },
  });
  const passed = (await child.exited) === 0;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`── ${name}: ${passed ? "ok" : "FAILED"} after ${seconds} s`);
  return passed;
}

function fail(why: string): never {
  const line = `${totals.passed} passed, ${totals.failed + 1} failed, ${totals.skipped} skipped`;
  writeFileSync(`${reports}/summary`, `${line}\n`);
  console.log(`\n${why}\n${line}`);
  process.exit(1);
}
