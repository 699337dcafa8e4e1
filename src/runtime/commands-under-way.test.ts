import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argumentsOf } from "../os/process/process-stat.ts";
import { endCommands } from "./commands-under-way.ts";

test("endCommands() ends what another version of the program does for the same container, and nothing else", async () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-commands-"));
  const runs = ["one", "other"].map((version) => {
    mkdirSync(`${dir}/${version}`);
    const program = `${dir}/${version}/runc`;
    writeFileSync(program, "#!/bin/sh\nread forever\n");
    chmodSync(program, 0o755);
    return (...args: string[]) => Bun.spawn([program, ...args], { stdin: "pipe" });
  });
  const [one, other] = runs;
  const ended = [one?.("create", "id-1"), other?.("create", "--bundle", "b", "id-1")];
  const kept = [other?.("start", "id-1"), other?.("create", "id-2"), one?.("create", "id-11")];
  try {
    for (const child of [...ended, ...kept]) {
      while (!argumentsOf(child?.pid ?? 0).some((word) => word.endsWith("/runc")))
        await Bun.sleep(1);
    }
    await endCommands(`${dir}/one/runc`, "id-1", ["create"]);
    for (const child of ended) await child?.exited;
    expect(kept.map((child) => child?.exitCode)).toEqual([null, null, null]);
  } finally {
    for (const child of [...ended, ...kept]) child?.kill("SIGKILL");
    rmSync(dir, { recursive: true });
  }
});
