import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { openConfDirs } from "./conf-dirs.ts";
import { formatConflist, parseConflist, readConflist, speaks } from "./conflist.ts";

const bridge = {
  type: "bridge",
  ipam: { type: "host-local" },
  capabilities: { mac: true, x: false },
};
const list = { cniVersion: "1.0.0", name: "net", plugins: [bridge, { type: "portmap" }] };

function parse(value: unknown) {
  return parseConflist(JSON.stringify(value), "test");
}

describe("parseConflist()", () => {
  test("reads a list and knows what each plugin wants", () => {
    const conflist = parse(list);
    expect(conflist.plugins.map(({ type }) => type)).toEqual(["bridge", "portmap"]);
    expect(conflist.plugins[0]?.capabilities).toEqual(["mac"]);
    expect(speaks(conflist, "0.4.0")).toBe(true);
    expect(speaks(conflist, "1.1.0")).toBe(false);
    expect(readConflist(formatConflist(conflist), "cache")).toEqual(conflist);
  });

  test("takes a single plugin for a list of one", () => {
    const conflist = parse({ cniVersion: "0.3.1", name: "one", ...bridge });
    expect(conflist.plugins).toHaveLength(1);
  });

  test("takes the newest known version that is offered", () => {
    const several = { ...list, cniVersions: ["0.4.0", "1.1.0", "9.0.0"] };
    expect(parse(several).cniVersion).toBe("1.1.0");
  });

  test("takes a list that says no version for one of the oldest", () => {
    for (const cniVersion of [undefined, ""]) {
      expect(parse({ ...list, cniVersion }).cniVersion).toBe("0.1.0");
    }
  });

  test.each([
    [{ ...list, cniVersion: "0.0.1" }],
    [{ ...list, name: "../x" }],
    [{ ...list, name: "" }],
    [{ ...list, plugins: [] }],
    [{ ...list, plugins: {} }],
    [{ ...list, plugins: Array.from({ length: 33 }, () => ({ type: "x" })) }],
    [{ ...list, plugins: [{ type: "../../bin/sh" }] }],
    [{ ...list, plugins: [{ type: "/bin/sh" }] }],
    [{ ...list, plugins: [{ type: "" }] }],
    [{ ...list, plugins: [{ type: "." }] }],
    [{ ...list, plugins: [{ type: ".." }] }],
    [{ ...list, plugins: [{ type: "a\0b" }] }],
    [{ ...list, plugins: [{}] }],
    [{ ...list, plugins: [{ type: "bridge", ipam: { type: "../x" } }] }],
    [[]],
    ["text"],
  ])("refuses %j", (value) => {
    expect(() => parse(value)).toThrow("test");
  });
});

describe("openConfDirs()", () => {
  test("takes the first valid file by name, sees changes, and survives a missing directory", () => {
    const dir = mkdtempSync(`${tmpdir()}/conf-`);
    try {
      const conf = `${dir}/net.d`;
      const confDirs = openConfDirs([conf, `${dir}/second`]);
      expect(confDirs.current()).toEqual({
        reason: `no network configuration in ${conf}, ${dir}/second`,
      });

      mkdirSync(`${dir}/second`);
      writeFileSync(`${dir}/second/a.conf`, JSON.stringify({ ...bridge, ...list, name: "second" }));
      expect(nameOf(confDirs.current())).toBe("second");

      mkdirSync(conf);
      writeFileSync(`${conf}/10-bad.conflist`, "{");
      writeFileSync(`${conf}/20-good.conflist`, JSON.stringify({ ...list, name: "good" }));
      writeFileSync(`${conf}/05-ignored.txt`, JSON.stringify(list));
      expect(nameOf(confDirs.current())).toBe("good");
      expect(confDirs.current()).toBe(confDirs.current());

      writeFileSync(`${dir}/real`, JSON.stringify({ ...list, name: "linked" }));
      symlinkSync(`${dir}/real`, `${conf}/15-link.conflist`);
      expect(nameOf(confDirs.current())).toBe("linked");

      writeFileSync(`${dir}/next`, JSON.stringify({ ...list, name: "moved_" }));
      renameSync(`${dir}/next`, `${dir}/real`);
      expect(nameOf(confDirs.current())).toBe("moved_");

      rmSync(conf, { recursive: true });
      rmSync(`${dir}/second`, { recursive: true });
      expect(confDirs.current()).toHaveProperty("reason");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("says why the only file is no good", () => {
    const dir = mkdtempSync(`${tmpdir()}/conf-`);
    try {
      writeFileSync(`${dir}/x.conflist`, JSON.stringify({ ...list, cniVersion: "7.0.0" }));
      const configured = openConfDirs([dir]).current();
      expect("reason" in configured && configured.reason).toContain('CNI version "7.0.0"');
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

function nameOf(configured: ReturnType<ReturnType<typeof openConfDirs>["current"]>) {
  return "conflist" in configured ? configured.conflist.name : configured.reason;
}
