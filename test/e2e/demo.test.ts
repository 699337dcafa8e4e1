import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { processes } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
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

const before = leftovers();
const fromHere = () => leftovers().filter((one) => !before.includes(one));

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
  await eventually(() => expect(fromHere()).toEqual([]));
});

test("crib demo cleans up after Ctrl-C", async () => {
  // Where nobody reads its output for a while, it is over before it is interrupted.
  let code = 0;
  for (let attempt = 0; code === 0 && attempt < 20; attempt++) {
    const child = startDemo();
    let shown = "";
    for await (const chunk of child.stdout) {
      const isNew = !shown.includes("StartContainer");
      shown += Buffer.from(chunk).toString();
      if (isNew && shown.includes("StartContainer")) child.kill("SIGINT");
    }
    code = await child.exited;
  }
  expect(code).toBe(130);
  await eventually(() => expect(fromHere()).toEqual([]));
});
