import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { repositoryDir } from "../parts/paths.ts";
import { run } from "../parts/run.ts";
import { guestCache } from "./packages.ts";
import { runScript } from "./scenario.ts";

const enabled = process.env["CRIB_TEST_GUEST"] === "1" && process.arch === "x64";

const minute = 60_000;

describe.skipIf(!enabled)("a node with an arm64 processor", () => {
  const outDir = join(guestCache, "arm64");
  const text = (name: string) => Bun.file(join(outDir, name)).text();

  beforeAll(async () => {
    await run([process.execPath, join(repositoryDir, "embed/build.ts"), "--arch", "arm64"]);
    const { exitCode } = await runScript("own-commands.sh", {
      arch: "arm64",
      progress: (line) => console.log(line),
      outDir,
      timeoutMs: 30 * minute,
    });
    expect(exitCode).toBe(0);
  }, 60 * minute);

  test("has what a node needs, and the demo leaves nothing", async () => {
    expect(await text("version")).toMatch(/^runc +\d/m);
    expect(await text("check")).not.toContain("missing");
    expect(await text("demo")).toContain("aarch64");
    expect(await text("demo")).toContain("All of it worked");
  });

  test("takes its own image of an index, and unpacks gzip and zstd", async () => {
    const { config } = JSON.parse(await text("image"));
    expect(config.architecture).toBe("arm64");
    expect(await text("verified")).toMatch(/^(?:.* 4 intact\n){2}$/);
  });

  test("runs a container with limits, a host port and a seccomp filter", async () => {
    expect(await text("page")).toBe("a page\n");
    expect(await text("limits")).toBe(`${64 << 20}\n`);
    expect(await text("status")).toMatch(/^Seccomp:\t2$/m);
    const [pod] = JSON.parse(await text("stats.json")).stats;
    expect(Number(pod.linux.cpu.usageCoreNanoSeconds.value)).toBeGreaterThan(0);
    expect(Number(pod.linux.memory.workingSetBytes.value)).toBeGreaterThan(0);
  });

  test("runs commands in it, without the OCI runtime", async () => {
    expect(await text("exec")).toBe("aarch64\n0\n7\n");
    expect(await text("tty")).toMatch(/^\/dev\/pts\/\d+\r?\n$/);
    expect(await text("left-to-runtime")).toBe("0\n");
  });

  test("a daemon that is killed takes nothing with it", async () => {
    expect(await text("page-without-daemon")).toBe("a page\n");
    expect(await text("ps-after")).toMatch(/ running /);
    expect(await text("exec-after")).toBe("again\n");
    expect(await text("logs")).toBe("begun\nended\n");
    const { containers } = JSON.parse(await text("ended.json"));
    expect(containers.map((one: { state: string }) => one.state)).toEqual(["CONTAINER_EXITED"]);
  });

  test("runs containers with crun, and images of an archive", async () => {
    expect(await text("crun")).toBe("crun on aarch64\n5\n");
    expect(await text("imported")).toEndWith("imported\n");
    expect(await text("left")).toBe("");
  });
});
