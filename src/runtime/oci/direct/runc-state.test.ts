import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { tempDir } from "../../../../test/harness/temp-dir.ts";
import { readRuncState } from "./runc-state.ts";

const config = { labels: ["a=b"], seccomp: { syscalls: [{ name: "read" }] } };
const state = {
  id: "c1",
  init_process_pid: 4321,
  init_process_start: 98_765,
  created: "2026-12-01T06:00:00Z",
  config,
  cgroup_paths: { "": "/cg/unified/c1", devices: "/cg/devices/c1" },
  namespace_paths: { NEWNS: "/proc/4321/ns/mnt" },
};
const expected = {
  pid: 4321,
  startTime: 98_765,
  cgroups: ["/cg/unified/c1", "/cg/devices/c1"],
  isPlain: true,
};

function read(text: string) {
  using dir = tempDir();
  writeFileSync(`${dir.path}/state.json`, text);
  return readRuncState(dir.path);
}

test("readRuncState() returns the same of a state in runc's order and in another", () => {
  const { config: first, ...rest } = state;
  expect(read(JSON.stringify(state))).toEqual(expected);
  expect(read(JSON.stringify({ config: first, ...rest }))).toEqual(expected);
  expect(read(JSON.stringify(state, undefined, 2))).toEqual(expected);
});

test("readRuncState() is not led astray by what stands in values, nor by odd paths", () => {
  const words = ['"cgroup_paths":{"x":"/y"},"', '","Hooks":', 'init_process_pid":1', "\\", "}"];
  const odd = { ...state, config: { ...config, labels: words } };
  expect(read(JSON.stringify(odd))).toEqual(expected);
  for (const path of ["/cg/a}b", "/cg/a{b", '/cg/a"b', "/cg/a\\b", "/cg/ä"]) {
    const moved = { ...state, cgroup_paths: { devices: path } };
    expect(read(JSON.stringify(moved))).toEqual({ ...expected, cgroups: [path] });
  }
  const nested = { ...state, config: { ...config, cgroup_paths: { x: "/y" } } };
  expect(read(JSON.stringify(nested))).toEqual(expected);
});

test("readRuncState() says that there is more to remove than it knows, and nothing of what is no state", () => {
  for (const more of [{ Hooks: { poststop: [] } }, { intel_rdt: {} }]) {
    const held = { ...state, config: { ...config, ...more } };
    expect(read(JSON.stringify(held))).toEqual({ ...expected, isPlain: false });
  }
  expect(read(JSON.stringify(state).slice(0, -20))).toBeUndefined();
  expect(read("{}")).toBeUndefined();
});
