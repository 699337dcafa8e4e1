import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NamedVolumes } from "./volumes.ts";

test("NamedVolumes removes what was cut off, and leaves alone what is no volume", () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-volumes-"));
  try {
    new NamedVolumes(dir).create("kept");
    mkdirSync(`${dir}/begun`);
    mkdirSync(`${dir}/.removed-1/data`, { recursive: true });
    writeFileSync(`${dir}/notes`, "");
    mkdirSync(`${dir}/lost+found`);
    const volumes = new NamedVolumes(dir);
    expect(readdirSync(dir).sort()).toEqual(["kept", "lost+found", "notes"]);
    expect(volumes.list().map(({ name }) => name)).toEqual(["kept"]);
    expect(volumes.find("notes")).toBeUndefined();
  } finally {
    rmSync(dir, { recursive: true });
  }
});
