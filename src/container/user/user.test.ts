import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { create } from "@bufbuild/protobuf";
import { LinuxContainerSecurityContextSchema } from "../../gen/runtime/v1/api_pb.ts";
import { kindOf } from "../../lib/errors.ts";
import { imageUser } from "./image-user.ts";
import { resolveUser, resolveUserIn } from "./user.ts";
import { readUserDatabase } from "./user-database.ts";

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:
www-data:x:33:33:www:/var/www:/bin/false
broken:x:abc:0::/:
alice:x:1000:1000::/home/alice:
4294967296:x:0:0::/root:
10:x:0:0::/root:
+0:x:7:7::/:
`;
const group =
  "root:x:0:\nwww-data:x:33:\nextra:x:50000:alice,bob\nother:x:77:root\nbad:x:x:alice\n";

const dir = mkdtempSync(`${tmpdir()}/crib-user-`);
afterAll(() => rmSync(dir, { recursive: true }));

let count = 0;
function rootfs(files: { passwd?: string; group?: string } = { passwd, group }): string {
  const root = `${dir}/${count++}`;
  mkdirSync(`${root}/etc`, { recursive: true });
  if (files.passwd !== undefined) writeFileSync(`${root}/etc/passwd`, files.passwd);
  if (files.group !== undefined) writeFileSync(`${root}/etc/group`, files.group);
  return root;
}

const database = readUserDatabase(rootfs());
type Init = Parameters<typeof create<typeof LinuxContainerSecurityContextSchema>>[1];
const resolve = (image: string, context?: Init) =>
  resolveUserIn(
    database,
    image,
    context && create(LinuxContainerSecurityContextSchema, context as never),
  );
const ids = (image: string, context?: Init) => {
  const { uid, gid, supplementalGroups } = resolve(image, context);
  return [uid, gid, [...supplementalGroups]];
};

describe("resolveUser()", () => {
  test("takes the image's USER in all its forms", () => {
    expect(ids("")).toEqual([0, 0, [0, 77]]);
    expect(ids("33")).toEqual([33, 33, [33]]);
    expect(ids("www-data")).toEqual([33, 33, [33]]);
    expect(ids("alice:www-data")).toEqual([1000, 33, [33, 50000]]);
    expect(ids("1002")).toEqual([1002, 0, [0]]);
    expect(ids("1003:1004")).toEqual([1003, 1004, [1004]]);
    expect(ids("1:")).toEqual([1, 1, [1]]);
    expect(resolve("alice").home).toBe("/home/alice");
    expect(resolve("1002").home).toBe("/");
  });

  test("never looks digits up as a name", () => {
    expect(ids("00")).toEqual([0, 0, [0, 77]]);
    expect(ids("10")).toEqual([10, 0, [0]]);
    for (const user of ["4294967295", "4294967296", "18446744073709551616", "1:4294967296"]) {
      expect(() => resolve(user)).toThrow("over 4294967294");
    }
    for (const user of ["-1", " 0", "0x0", "1e3", "１０", "nobody", "a:b:c"]) {
      expect(() => resolve(user)).toThrow();
    }
    expect(ids("+0")).toEqual([7, 7, [7]]);
  });

  test("prefers the security context, and ignores the image's group with it", () => {
    expect(ids("alice:www-data", { runAsUser: { value: 1001n } })).toEqual([1001, 0, [0]]);
    expect(ids("", { runAsUsername: "www-data" })).toEqual([33, 33, [33]]);
    expect(ids("", { runAsUsername: "1000", runAsGroup: { value: 5n } })).toEqual([
      1000,
      5,
      [5, 50000],
    ]);
  });

  test("merges the image's groups unless the policy is Strict, and always holds the primary one", () => {
    const context = { runAsUser: { value: 1000n }, supplementalGroups: [1234n] };
    expect(ids("", context)).toEqual([1000, 1000, [1000, 1234, 50000]]);
    expect(ids("", { ...context, supplementalGroupsPolicy: 1 })).toEqual([
      1000,
      1000,
      [1000, 1234],
    ]);
  });

  test("refuses what makes no sense", () => {
    expect(() => resolve("", { runAsGroup: { value: 1n } })).toThrow("without run_as_user");
    expect(() => resolve("", { runAsUser: { value: -1n } })).toThrow("not between");
    expect(() => resolve("", { runAsUser: { value: 0n }, runAsUsername: "root" })).toThrow("both");
    expect(() => resolve("", { runAsUsername: "nobody" })).toThrow("no user");
    expect(() => resolve("alice:staff")).toThrow('no group "staff"');
  });

  test("follows links inside the root file system and never out of it", () => {
    const inside = rootfs({});
    mkdirSync(`${inside}/usr/lib`, { recursive: true });
    writeFileSync(`${inside}/usr/lib/passwd`, "eve:x:5:6::/eve:\n");
    symlinkSync("/usr/lib/passwd", `${inside}/etc/passwd`);
    expect(resolveUser(inside, "eve", undefined)).toMatchObject({ uid: 5, gid: 6, home: "/eve" });

    const outside = rootfs({});
    writeFileSync(`${dir}/secret`, passwd);
    symlinkSync("../../secret", `${outside}/etc/passwd`);
    expect(() => resolveUser(outside, "daemon", undefined)).toThrow("no user");
    expect(resolveUser(outside, "33", undefined).gid).toBe(0);
  });

  test("refuses a database that is no small regular file", () => {
    const fifo = rootfs({});
    Bun.spawnSync(["mkfifo", `${fifo}/etc/passwd`]);
    expect(() => resolveUser(fifo, "0", undefined)).toThrow("not a regular file");

    const directory = rootfs({});
    mkdirSync(`${directory}/etc/group`);
    expect(() => resolveUser(directory, "0", undefined)).toThrow("not a regular file");

    const loop = rootfs({});
    symlinkSync("passwd", `${loop}/etc/passwd`);
    expect(() => resolveUser(loop, "0", undefined)).toThrow("loop of links");

    const huge = rootfs({ passwd: "" });
    truncateSync(`${huge}/etc/passwd`, 5 * 1024 ** 3);
    try {
      resolveUser(huge, "0", undefined);
      expect.unreachable();
    } catch (err) {
      expect(kindOf(err)).toBe("resource-exhausted");
    }
  });

  test("takes a group with a million members", () => {
    const root = rootfs({ passwd, group: `big:x:9:${"bob,".repeat(1 << 20)}alice\n` });
    expect(resolveUser(root, "alice", undefined).supplementalGroups).toEqual([9, 1000]);
    expect(resolveUser(root, "daemon", undefined).supplementalGroups).toEqual([1]);
  });

  test("gives no home that could break a line or is not absolute", () => {
    const root = rootfs({ passwd: "a:x:1:1::/home/a\rb:\nb:x:2:2::relative:\n" });
    expect(resolveUser(root, "a", undefined).home).toBe("/");
    expect(resolveUser(root, "b", undefined).home).toBe("/");
  });
});

test("imageUser() distinguishes a uid from a name", () => {
  expect(imageUser({ user: "1002" })).toEqual({ uid: 1002 });
  expect(imageUser({ user: "www-data" })).toEqual({ username: "www-data" });
  expect(imageUser({ user: "1003:1004" })).toEqual({ uid: 1003 });
  expect(imageUser({ user: "www-data:1004" })).toEqual({ username: "www-data" });
  expect(imageUser({ user: "" })).toBeUndefined();
  expect(imageUser({ user: "4294967296" })).toEqual({ username: "4294967296" });
});
