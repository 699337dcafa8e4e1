import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DeviceSchema } from "../../../gen/runtime/v1/api_pb.ts";
import { describe, kindOf } from "../../../lib/errors.ts";
import { deviceNumber, resolveDevices } from "./resolve.ts";

const dir = realpathSync(mkdtempSync(`${tmpdir()}/crib-device-`));
afterAll(() => rmSync(dir, { recursive: true }));

const resolve = (...inits: readonly MessageInitShape<typeof DeviceSchema>[]) =>
  resolveDevices(
    inits.map((init) => create(DeviceSchema, { permissions: "rwm", ...init })),
    false,
  );

test("resolveDevices() denies all but what was asked for", async () => {
  symlinkSync("/dev/null", `${dir}/link`);
  const { nodes, rules } = await resolve({
    hostPath: `${dir}/link`,
    containerPath: "/dev/nothing",
    permissions: "rw",
  });
  expect(nodes).toMatchObject([{ path: "/dev/nothing", type: "c", major: 1, minor: 3 }]);
  expect(rules).toEqual([
    { allow: false, access: "rwm" },
    { allow: true, access: "rw", type: "c", major: 1, minor: 3 },
  ]);
  expect(await resolve()).toEqual({ nodes: [], rules: [{ allow: false, access: "rwm" }] });
});

test("resolveDevices() refuses what is no device", async () => {
  writeFileSync(`${dir}/file`, "");
  const kind = async (init: MessageInitShape<typeof DeviceSchema>) =>
    await resolve(init).then(() => undefined, kindOf);
  expect(await kind({ hostPath: `${dir}/file` })).toBe("invalid-argument");
  expect(await kind({ hostPath: `${dir}/absent` })).toBe("failed-precondition");
  expect(await kind({ hostPath: "null" })).toBe("invalid-argument");
  expect(await kind({ hostPath: "/dev/null", containerPath: "null" })).toBe("invalid-argument");
  for (const permissions of ["", "x", "rr", "rwmr", "R"]) {
    expect(await kind({ hostPath: "/dev/null", permissions })).toBe("invalid-argument");
  }
});

test("resolveDevices() walks a directory, to a depth", async () => {
  mkdirSync(`${dir}/tree/${"d/".repeat(9)}`, { recursive: true });
  const failure = await resolve({ hostPath: `${dir}/tree` }).catch(describe);
  expect(failure).toContain("levels deep");
  mkdirSync(`${dir}/flat/sub`, { recursive: true });
  expect((await resolve({ hostPath: `${dir}/flat`, containerPath: "/dev/flat" })).nodes).toEqual(
    [],
  );
});

test("resolveDevices() gives a privileged container the devices of the node", async () => {
  const { nodes, rules } = await resolveDevices([], true);
  expect(nodes.map(({ path }) => path)).toContain("/dev/null");
  expect(nodes.some(({ path }) => path.startsWith("/dev/pts/"))).toBe(false);
  expect(rules).toEqual([{ allow: true, access: "rwm" }]);
});

test("deviceNumber() takes apart large numbers", () => {
  expect(deviceNumber(0x103n)).toEqual({ major: 1, minor: 3 });
  // gnu_dev_makedev(0x12345, 0x6789ab)
  expect(deviceNumber(0x1_2006_7893_45abn)).toEqual({ major: 0x12345, minor: 0x6789ab });
});
