import { describe, expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { ContainerConfigSchema } from "../../gen/runtime/v1/api_pb.ts";
import { kindOf } from "../../lib/errors.ts";
import { oomScoreAdj, processArgs, processCwd, processEnv } from "./process.ts";

const config = (init: Parameters<typeof create<typeof ContainerConfigSchema>>[1]) =>
  create(ContainerConfigSchema, init);
const image = { entrypoint: ["/e"], cmd: ["c"], env: [] as string[], workingDir: "" };

test("processArgs() follows Kubernetes' rule for command and args", () => {
  const args = (command: string[], more: string[]) =>
    processArgs(config({ command, args: more }), image);
  expect(args([], [])).toEqual(["/e", "c"]);
  expect(args([], ["a"])).toEqual(["/e", "a"]);
  expect(args(["x"], [])).toEqual(["x"]);
  expect(args(["x"], ["a"])).toEqual(["x", "a"]);
  expect(() => processArgs(config({}), { entrypoint: [], cmd: [] })).toThrow("no command");
  expect(() => args(["a\0b"], [])).toThrow("NUL");
});

test("processCwd() is absolute", () => {
  expect(processCwd(config({}), image)).toBe("/");
  expect(processCwd(config({}), { workingDir: "srv/../app/" })).toBe("/app/");
  expect(processCwd(config({ workingDir: "/w" }), { workingDir: "/srv" })).toBe("/w");
  expect(processCwd(config({ workingDir: "../../.." }), image)).toBe("/");
});

describe("processEnv()", () => {
  const defaults = { hostname: "h", home: "/root" };
  const env = (entries: readonly string[], envs: [string, string | Uint8Array][], tty = false) =>
    processEnv(
      config({ tty, envs: envs.map(([key, value]) => ({ key, value: Buffer.from(value) })) }),
      { env: entries },
      defaults,
    );

  test("puts the container's over the image's over the defaults", () => {
    expect(
      env(
        ["PATH=/p", "A=1", "B=2"],
        [
          ["B", "3"],
          ["C", ""],
        ],
        true,
      ),
    ).toEqual(["PATH=/p", "HOSTNAME=h", "TERM=xterm", "A=1", "B=3", "C=", "HOME=/root"]);
    expect(env(["HOME=/h", "HOSTNAME=i"], [])).toContain("HOME=/h");
  });

  test("leaves out what an image writes that is no assignment", () => {
    expect(env(["PATH", "*", "=x", "A=B=C", "D=a\nE=1"], []).slice(2)).toEqual([
      "A=B=C",
      "D=a\nE=1",
      "HOME=/root",
    ]);
  });

  test("refuses what a process could not be given unchanged", () => {
    for (const value of [Buffer.from([0x80]), Buffer.from([0x61, 0xff]), "a\0b"]) {
      try {
        env([], [["X", value]]);
        expect.unreachable();
      } catch (err) {
        expect(kindOf(err)).toBe("invalid-argument");
      }
    }
    expect(() => env([], [["A=B", "x"]])).toThrow("name");
    expect(() => env([], [["", "x"]])).toThrow("name");
    expect(env([], [["BOM", "\uFEFFx"]])).toContain("BOM=\uFEFFx");
  });
});

test("oomScoreAdj() does not ask for what the daemon may not give", () => {
  const without = { boundingCapabilities: new Set<string>(), oomScoreAdj: -10 };
  const able = { boundingCapabilities: new Set(["CAP_SYS_RESOURCE"]), oomScoreAdj: -10 };
  expect(oomScoreAdj(undefined, without)).toBe(0);
  expect(oomScoreAdj(-997n, without)).toBe(-10);
  expect(oomScoreAdj(-997n, able)).toBe(-997);
  expect(oomScoreAdj(5000n, able)).toBe(1000);
});
