import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { formatVerdict } from "../critest/run.ts";
import { runGuestCritest } from "./critest.ts";
import { type Reboot, reboot } from "./reboot.ts";

const enabled = process.env["CRIB_TEST_GUEST"] === "1";
if (!enabled)
  console.log("skipped: tests in a guest take half an hour; CRIB_TEST_GUEST=1 runs them");

const minute = 60_000;

interface Listed {
  readonly metadata: { readonly name: string };
  readonly state: string;
}

describe.skipIf(!enabled)("a node that has lost its power", () => {
  let run: Reboot;

  const text = (dir: string, name: string) => Bun.file(join(dir, name)).text();
  const lines = async (dir: string, name: string) =>
    (await text(dir, name)).split("\n").filter(Boolean).sort();
  const pods = async (name: string) =>
    (JSON.parse(await text(run.afterDir, `${name}-pods.json`)) as { items: readonly Listed[] })
      .items;
  const tags = async (dir: string, name: string) => {
    const list = JSON.parse(await text(dir, `${name}-images.json`)) as {
      images: readonly { repoTags: readonly string[] }[];
    };
    return list.images.flatMap(({ repoTags }) => repoTags).sort();
  };
  const containers = async (name: string) =>
    parseDocuments(await text(run.afterDir, `${name}-inspect.json`)).map(
      ({ status: { metadata, state, exitCode, reason, logPath } }) => ({
        name: `${logPath.split("/").at(-2)}/${metadata.name}`,
        ...{ state, exitCode, reason },
      }),
    );

  beforeAll(async () => {
    run = await reboot({ progress: (line) => console.log(line) });
  }, 45 * minute);

  test("comes up again, and all that was tried on it works", () => {
    expect(run.before.exitCode).toBeUndefined();
    expect(run.after.exitCode).toBe(0);
  });

  test("has its pods, not ready, and its containers, ended", async () => {
    expect(
      (await pods("recovered")).map(({ metadata, state }) => [metadata.name, state]).sort(),
    ).toEqual([
      ["shared", "SANDBOX_NOTREADY"],
      ["steady", "SANDBOX_NOTREADY"],
      ["stopped", "SANDBOX_NOTREADY"],
    ]);
    const lost = { state: "CONTAINER_EXITED", exitCode: 255, reason: "Unknown" };
    const found = await containers("recovered");
    expect(found.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual([
      { name: "shared/web", ...lost },
      { name: "steady/created", ...lost },
      // These had ended before, and it is known how.
      { name: "steady/done", state: "CONTAINER_EXITED", exitCode: 7, reason: "Error" },
      { name: "steady/sleeper", ...lost },
      { name: "stopped/sleeper", state: "CONTAINER_EXITED", exitCode: 137, reason: "Error" },
    ]);
  });

  test("gives back addresses when pods are stopped: DEL without a namespace, once for each", async () => {
    const before = await lines(run.beforeDir, "before-addresses");
    expect(before).toHaveLength(2);
    expect(await lines(run.afterDir, "recovered-addresses")).toEqual(before);
    expect(await lines(run.afterDir, "stopped-addresses")).toEqual([]);
    const calls = (await text(run.afterDir, "cni.log")).split("\n");
    const firstAdd = calls.findIndex((call) => call.startsWith("ADD "));
    const deletions = calls.slice(0, firstAdd).filter((call) => call.startsWith("DEL "));
    expect(deletions.map((call) => call.split(" ")[2])).toEqual(["netns=", "netns="]);
  });

  test("has nothing left of pods that were removed", async () => {
    expect(await pods("removed")).toEqual([]);
    expect(await containers("removed")).toEqual([]);
    expect(await text(run.afterDir, "state-left")).not.toMatch(/^[0-9a-f]{64}$/m);
    expect(await lines(run.afterDir, "containers-left")).toEqual([]);
    expect((await text(run.afterDir, "overlays-left")).trim()).toBe("0");
  });

  test("has every image that was complete, and not the one that was not", async () => {
    expect(await tags(run.afterDir, "recovered")).toEqual([
      "registry.k8s.io/crib-test/debian:base",
      "registry.k8s.io/e2e-test-images/busybox:1.29-2",
      "registry.k8s.io/e2e-test-images/nginx:1.14-2",
    ]);
    const kept = await text(run.afterDir, "sums-kept");
    expect(kept).toMatch(/^[0-9a-f]{64} /);
    expect(await text(run.afterDir, "sums-pulled")).toBe(kept);
    expect(Number(await text(run.afterDir, "tools"))).toBeGreaterThan(3);
  });

  test("runs new pods, with host ports", async () => {
    expect((await pods("again")).map(({ state }) => state)).toEqual([
      "SANDBOX_READY",
      "SANDBOX_READY",
    ]);
    expect((await containers("again")).map(({ state }) => state)).toEqual([
      "CONTAINER_RUNNING",
      "CONTAINER_RUNNING",
    ]);
    expect(await text(run.afterDir, "page")).toContain("It works");
    expect(await lines(run.afterDir, "addresses-left")).toEqual([]);
  });
});

describe.skipIf(!enabled)("cgroup version 2, no systemd, AppArmor", () => {
  test(
    "critest",
    async () => {
      const verdict = await runGuestCritest({ progress: (line) => console.log(line) });
      console.log(formatVerdict(verdict));
      expect(verdict.wrong).toEqual([]);
      expect(verdict.incomplete).toBeUndefined();
    },
    70 * minute,
  );
});

interface Inspected {
  readonly status: {
    readonly metadata: { readonly name: string };
    readonly state: string;
    readonly exitCode: number;
    readonly reason: string;
    readonly logPath: string;
  };
}

/** JSON objects one after the other, each with its braces at the start of a line. */
function parseDocuments(text: string): readonly Inspected[] {
  return text
    .split(/^(?=\{)/m)
    .filter((part) => part.trim() !== "")
    .map((part) => JSON.parse(part) as Inspected);
}
