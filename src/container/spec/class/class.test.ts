import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { kindOf, describe as messageOf } from "../../../lib/errors.ts";
import { blockIoKeys, classOf, rdtKeys } from "./annotation.ts";
import { blockIoOf, parseBlockIoClasses, readBlockIoClasses } from "./block-io.ts";
import { rdtClass, rdtOfDevice } from "./rdt.ts";

const dir = mkdtempSync(`${tmpdir()}/crib-class-`);
afterAll(() => rmSync(dir, { recursive: true }));

function failure(act: () => unknown): string {
  try {
    act();
  } catch (err) {
    return `${kindOf(err)}: ${messageOf(err)}`;
  }
  return "none";
}

test("classOf() takes the container's own annotation before the pod's", () => {
  const pod = {
    "blockio.resources.beta.kubernetes.io/pod": "slow",
    "blockio.resources.beta.kubernetes.io/container.web": "fast",
  };
  const own = { "io.kubernetes.cri.blockio-class": "own" };
  expect(classOf(blockIoKeys, { name: "web", annotations: own }, pod)).toBe("own");
  expect(classOf(blockIoKeys, { name: "web", annotations: {} }, pod)).toBe("fast");
  expect(classOf(blockIoKeys, { name: "db", annotations: {} }, pod)).toBe("slow");
  expect(classOf(rdtKeys, { name: "web", annotations: own }, pod)).toBeUndefined();
  for (const name of ["..", "a/b", "a\n", ".x", "x".repeat(129)]) {
    const annotations = { "io.kubernetes.cri.rdt-class": name };
    expect(failure(() => classOf(rdtKeys, { name: "web", annotations }, {}))).toStartWith(
      "invalid-argument",
    );
  }
});

describe("block I/O classes", () => {
  test("are read in the form that others take too", () => {
    const path = `${dir}/classes.yaml`;
    writeFileSync(
      path,
      `Classes:
  low:
  - Weight: 80
  - Devices: [/dev/vda]
    ThrottleReadBps: 60M
    ThrottleWriteIOPS: 40k
    Weight: "20"
`,
    );
    const classes = readBlockIoClasses(path);
    expect(classes?.get("low")).toMatchObject([
      { devices: [], weight: 80 },
      { devices: ["/dev/vda"], weight: 20, readBps: 60_000_000, writeIops: 40_000 },
    ]);
    expect(readBlockIoClasses("")).toBeUndefined();
  });

  test.each<[string, unknown]>([
    ["an unknown key", { classes: { a: [{ Wait: 1 }] } }],
    ["a weight out of range", { classes: { a: [{ Weight: 5 }] } }],
    ["no amount", { classes: { a: [{ Devices: ["/dev/a"], ThrottleReadBps: "fast" }] } }],
    ["throttling without a device", { classes: { a: [{ ThrottleReadBps: 1 }] } }],
    ["no list", { classes: { a: {} } }],
  ])("with %s are refused", (_, value) => {
    expect(failure(() => parseBlockIoClasses(value, "file"))).toStartWith("invalid-argument");
  });

  test("that are not there are refused, never ignored", () => {
    const classes = parseBlockIoClasses(
      { classes: { low: [{ Weight: 100 }], gone: [{ Devices: ["/dev/null"], Weight: 100 }] } },
      "file",
    );
    expect(blockIoOf(classes, "low")).toMatchObject({ weight: 100, weightDevice: [] });
    expect(failure(() => blockIoOf(undefined, "low"))).toContain("this node has none");
    expect(failure(() => blockIoOf(classes, "high"))).toContain("is not defined");
    expect(failure(() => blockIoOf(classes, "gone"))).toContain("is not a block device");
  });
});

test("rdtClass() takes a directory of resctrl and none of the kernel's", () => {
  expect(failure(() => rdtClass("gold", `${dir}/none`))).toContain("not mounted");
  for (const name of ["info", "gold", "mon_groups"])
    mkdirSync(`${dir}/resctrl/${name}`, { recursive: true });
  expect(rdtClass("gold", `${dir}/resctrl`)).toEqual({ closID: "gold" });
  expect(failure(() => rdtClass("mon_groups", `${dir}/resctrl`))).toContain("is not there");
  expect(failure(() => rdtClass("silver", `${dir}/resctrl`))).toContain("is not there");
});

test("rdtOfDevice() wants resctrl, a class that is there or made, and a runtime that takes all of it", () => {
  const root = `${dir}/devices`;
  const lines = { schemata: ["L3:0=f"], enableMonitoring: true };
  const runtime = { rdtSchemata: true };
  expect(failure(() => rdtOfDevice(lines, runtime, root))).toContain("resctrl is not mounted");
  for (const name of ["info", "gold"]) mkdirSync(`${root}/${name}`, { recursive: true });
  expect(rdtOfDevice(lines, runtime, root)).toEqual(lines);
  expect(rdtOfDevice({ closID: "gold" }, { rdtSchemata: false }, root)).toEqual({ closID: "gold" });
  expect(rdtOfDevice({ ...lines, closID: "new" }, runtime, root).closID).toBe("new");
  expect(failure(() => rdtOfDevice({ closID: "new" }, runtime, root))).toContain("is not there");
  expect(failure(() => rdtOfDevice({ ...lines, closID: "info" }, runtime, root))).toContain("not");
  expect(failure(() => rdtOfDevice(lines, { rdtSchemata: false }, root))).toContain("too old");
});
