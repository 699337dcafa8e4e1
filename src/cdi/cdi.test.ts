import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { kindOf, describe as messageOf } from "../lib/errors.ts";
import { makeFifo } from "../os/file/fifo.ts";
import { parseDeviceName } from "./device-name.ts";
import { noEdits } from "./edits.ts";
import { resolveCdiDevices } from "./resolve.ts";
import { parseSpec } from "./spec-file.ts";

const temp = mkdtempSync(`${tmpdir()}/crib-cdi-`);
afterAll(() => rmSync(temp, { recursive: true }));
const dirs = [`${temp}/etc`, `${temp}/run`];
const [etc = "", run = ""] = dirs;

beforeEach(() => {
  for (const dir of dirs) {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir);
  }
});

const gpu = { name: "0", containerEdits: { env: ["GPU=0"] } };
const spec = (more: object = {}) => ({
  cdiVersion: "0.6.0",
  kind: "vendor.com/gpu",
  devices: [gpu],
  ...more,
});

function write(dir: string, name: string, value: object): void {
  writeFileSync(`${dir}/${name}`, JSON.stringify(value));
}

function failure(act: () => unknown): { readonly kind: string; readonly message: string } {
  try {
    act();
  } catch (err) {
    return { kind: kindOf(err), message: messageOf(err) };
  }
  return { kind: "none", message: "" };
}

describe("resolveCdiDevices()", () => {
  test("gives what the devices and their file say, once each", () => {
    const two = { name: "1", containerEdits: { env: ["GPU=1"], additionalGids: [44, 0] } };
    const common = { env: ["ALL=1"], mounts: [{ hostPath: "/opt", containerPath: "/opt" }] };
    write(etc, "a.json", spec({ devices: [gpu, two], containerEdits: common }));
    const names = ["vendor.com/gpu=1", "vendor.com/gpu=0", "vendor.com/gpu=1"];
    expect(resolveCdiDevices(names, dirs)).toEqual({
      ...noEdits,
      env: ["ALL=1", "GPU=1", "GPU=0"],
      additionalGids: [44],
      mounts: [{ hostPath: "/opt", containerPath: "/opt", options: [] }],
    });
    expect(resolveCdiDevices([], dirs)).toEqual(noEdits);
  });

  test("prefers the later directory and refuses two files of one", () => {
    write(etc, "a.json", spec());
    write(run, "b.json", spec({ devices: [{ name: "0", containerEdits: { env: ["NEW=1"] } }] }));
    expect(resolveCdiDevices(["vendor.com/gpu=0"], dirs).env).toEqual(["NEW=1"]);
    write(run, "c.json", spec());
    const two = failure(() => resolveCdiDevices(["vendor.com/gpu=0"], dirs));
    expect(two.message).toContain("more than one file");
  });

  test("reads YAML with numbers as YAML 1.1 has them", () => {
    writeFileSync(
      `${etc}/a.yaml`,
      `cdiVersion: "1.0.0"
kind: vendor.com/net
devices:
- name: nic-0
  containerEdits:
    deviceNodes:
    - {path: /dev/nic0, type: c, major: 240, minor: 1, fileMode: 0660}
    - path: /dev/nic1
      fileMode: 0600 # octal
`,
    );
    const { deviceNodes } = resolveCdiDevices(["vendor.com/net=nic-0"], dirs);
    expect(deviceNodes.map(({ fileMode }) => fileMode)).toEqual([0o660, 0o600]);
    expect(deviceNodes[1]).toMatchObject({ hostPath: "/dev/nic1", permissions: "rwm" });
  });

  test("says what it could not read, and lets a bad file cost only its own devices", () => {
    write(etc, "good.json", spec());
    writeFileSync(`${etc}/bad.json`, "{");
    writeFileSync(`${etc}/huge.json`, "");
    truncateSync(`${etc}/huge.json`, 1 << 30);
    symlinkSync("/etc/passwd", `${etc}/link.json`);
    makeFifo(`${etc}/pipe.json`, 0o600);
    mkdirSync(`${etc}/dir.json`);
    expect(resolveCdiDevices(["vendor.com/gpu=0"], [...dirs, `${temp}/none`]).env).toEqual([
      "GPU=0",
    ]);
    const { kind, message } = failure(() => resolveCdiDevices(["vendor.com/gpu=7"], dirs));
    expect(kind).toBe("failed-precondition");
    expect(message).toContain("vendor.com/gpu=7: no file defines it (unreadable: ");
    expect(message).toContain("bad.json: not valid JSON");
  });

  test("refuses names that are none, and too many", () => {
    for (const name of ["", "gpu", "vendor.com/gpu", "vendor.com/gpu=", "/gpu=0", "a/b=c=d"]) {
      expect(failure(() => parseDeviceName(name)).kind).toBe("invalid-argument");
    }
    const many = Array.from({ length: 257 }, (_, i) => `vendor.com/gpu=${i}`);
    expect(failure(() => resolveCdiDevices(many, dirs)).kind).toBe("invalid-argument");
  });
});

test("a container has the network devices and the RDT class of its devices, if they agree", () => {
  const device = (name: string, containerEdits: object) => ({ name, containerEdits });
  const rdt = { closID: "gold", l3CacheSchema: "L3:0=f", enableMonitoring: true };
  const devices = [
    device("a", { netDevices: [{ hostInterfaceName: "eth1" }], intelRdt: rdt }),
    device("b", { netDevices: [{ hostInterfaceName: "eth2", name: "lan" }], intelRdt: rdt }),
    device("c", { netDevices: [{ hostInterfaceName: "eth3", name: "eth1" }] }),
    device("d", { intelRdt: { ...rdt, enableCMT: true, closID: "silver" } }),
  ];
  write(etc, "a.json", spec({ cdiVersion: "1.1.0", devices }));
  const resolve = (...names: readonly string[]) =>
    resolveCdiDevices(
      names.map((name) => `vendor.com/gpu=${name}`),
      dirs,
    );
  expect(resolve("a", "b")).toEqual({
    ...noEdits,
    netDevices: [
      { hostInterfaceName: "eth1", name: "eth1" },
      { hostInterfaceName: "eth2", name: "lan" },
    ],
    intelRdt: rdt,
  });
  expect(failure(() => resolve("a", "c")).message).toContain("two network devices eth1");
  expect(failure(() => resolve("a", "d")).message).toContain("different RDT classes");
});

describe("parseSpec()", () => {
  const edits = (containerEdits: object) => spec({ containerEdits });

  test.each<[string, object]>([
    ["a version that is not known", spec({ cdiVersion: "2.0.0" })],
    ["a kind that is none", spec({ kind: "gpu" })],
    ["a device twice", spec({ devices: [gpu, gpu] })],
    ["a device without edits", spec({ devices: [{ name: "x" }] })],
    ["an edit that is not known", edits({ memoryPolicy: {} })],
    ["a network device without a name", edits({ netDevices: [{ name: "eth0" }] })],
    ["a network device that is a path", edits({ netDevices: [{ hostInterfaceName: "a/b" }] })],
    ["a network device of 16 bytes", edits({ netDevices: [{ hostInterfaceName: "é".repeat(8) }] })],
    ["an RDT class that climbs", edits({ intelRdt: { closID: "../x" } })],
    ["an RDT line that is two", edits({ intelRdt: { schemata: ["L3:0=f\nMB:0=1"] } })],
    ["a key that is not known", spec({ more: 1 })],
    ["a relative hook", edits({ hooks: [{ hookName: "poststop", path: "x" }] })],
    ["a hook of another name", edits({ hooks: [{ hookName: "later", path: "/x" }] })],
    ["a path that climbs", edits({ deviceNodes: [{ path: "/dev/../etc" }] })],
    ["odd permissions", edits({ deviceNodes: [{ path: "/dev/x", permissions: "rr" }] })],
    ["a pipe for a device", edits({ deviceNodes: [{ path: "/dev/x", type: "p" }] })],
    ["an environment without a name", edits({ env: ["=x"] })],
    ["a group that is none", edits({ additionalGids: [-1] })],
    [
      "another kind of mount",
      edits({ mounts: [{ hostPath: "/a", containerPath: "/b", type: "nfs" }] }),
    ],
    ["too much of anything", edits({ env: Array.from({ length: 513 }, () => "A=b") })],
  ])("refuses %s", (_, value) => {
    expect(failure(() => parseSpec(value, "file")).kind).toBe("invalid-argument");
  });
});
