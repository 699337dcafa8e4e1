import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { processes } from "../harness/daemon.ts";
import { dataDir, executable } from "../harness/payload.ts";

function startDemo() {
  return Bun.spawn([executable, "demo"], {
    env: { PATH: process.env["PATH"] ?? "", CRIB_DATA: dataDir },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** What any demo may have left behind, whoever started it. */
function leftovers(): readonly string[] {
  return [
    ...readdirSync(tmpdir()).filter((name) => name.startsWith("crib-demo-")),
    ...readdirSync("/sys/class/net").filter((name) => /^demo[0-9a-f]{8}$/.test(name)),
    ...readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .filter((m) => m.includes("crib-demo-")),
    ...processes().flatMap(({ argv }) => argv.filter((arg) => arg.includes("crib-demo-"))),
  ];
}

test("crib demo shows a pod from nothing to nothing", async () => {
  const child = startDemo();
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(stderr).toBe("");
  expect(stdout).toContain('says "hello from a pod"');
  expect(stdout).toMatch(/All of it worked, in [\d.]+ m?s\./);
  expect(await child.exited).toBe(0);
  expect(leftovers()).toEqual([]);
});

test("crib demo cleans up after Ctrl-C", async () => {
  const child = startDemo();
  let shown = "";
  for await (const chunk of child.stdout) {
    shown += Buffer.from(chunk).toString();
    if (shown.includes("StartContainer")) child.kill("SIGINT");
  }
  expect(await child.exited).toBe(130);
  expect(leftovers()).toEqual([]);
});
