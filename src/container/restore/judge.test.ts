import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { tempDir } from "../../../test/harness/temp-dir.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { type CheckpointState, isKnownImage, readCheckpointState } from "./checkpoint-state.ts";
import { magics, readCriuImage } from "./criu-image.ts";
import { judgeCheckpoint, judgeOpenFiles } from "./judge.ts";

type Value = number | string | Uint8Array | readonly number[] | Fields;
interface Fields {
  readonly [field: number]: Value;
}

function encode(fields: Fields): Uint8Array {
  const writer = new BinaryWriter();
  for (const [field, value] of Object.entries(fields)) {
    const number = Number(field);
    if (typeof value === "number") writer.tag(number, WireType.Varint).uint64(value);
    else if (typeof value === "string") writer.tag(number, WireType.LengthDelimited).string(value);
    else if (value instanceof Uint8Array) {
      writer.tag(number, WireType.LengthDelimited).bytes(value);
    } else if (Array.isArray(value)) {
      for (const one of value) writer.tag(number, WireType.Varint).uint64(one);
    } else writer.tag(number, WireType.LengthDelimited).bytes(encode(value as Fields));
  }
  return writer.finish();
}

function image(magic: keyof typeof magics, ...messages: readonly Uint8Array[]): Buffer {
  const words = magic === "inventory" ? [magics[magic]] : [0x5456_4319, magics[magic]];
  const parts = messages.flatMap((one) => [word(one.byteLength), one]);
  return Buffer.concat([...words.map(word), ...parts]);
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const rootIds = { 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1 };
const ownIds = { 5: 2, 6: 3, 7: 4, 8: 5, 9: 6, 10: 1, 11: 1 };
const NET_RAW = 1 << 13;
const credentials = { 1: 0, 2: 0, 9: [], 12: [NET_RAW, 0], 13: 0, 18: 1 };
const thread = { 10: credentials, 11: 2, 12: 0 };
const program = Buffer.from("the filter");
const mounts = [
  { 1: 17, 2: 1, 5: 0, 6: "/", 7: "/" },
  { 1: 1, 2: 2, 5: 14, 6: "/", 7: "/proc" },
];

interface Parts {
  readonly thread?: Fields;
  readonly ids?: Fields;
  readonly mounts?: readonly Fields[];
  readonly files?: readonly Fields[];
  readonly more?: Readonly<Record<string, Buffer>>;
}

function stateOf(parts: Parts): CheckpointState {
  using dir = tempDir();
  const images: Record<string, Buffer> = {
    "inventory.img": image("inventory", encode({ 3: rootIds })),
    "core-1.img": image("core", encode({ 3: { 1: 1, 14: 0 }, 5: parts.thread ?? thread })),
    "ids-1.img": image("ids", encode(parts.ids ?? ownIds)),
    "seccomp.img": image("seccomp", encode({ 1: { 1: program } })),
    "mountpoints-1.img": image("mountPoints", ...(parts.mounts ?? mounts).map(encode)),
    "files.img": image("files", ...(parts.files ?? []).map(encode)),
    ...parts.more,
  };
  mkdirSync(`${dir.path}/images`);
  for (const [name, bytes] of Object.entries(images)) {
    writeFileSync(`${dir.path}/images/${name}`, bytes);
  }
  return readCheckpointState(`${dir.path}/images`);
}

const spec = {
  process: {
    terminal: false,
    user: { uid: 0, gid: 0, additionalGids: [] },
    capabilities: { bounding: ["CAP_NET_RAW"], permitted: [], inheritable: [], ambient: [] },
    noNewPrivileges: true,
    oomScoreAdj: 0,
  },
  root: { path: "/", readonly: false },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  ],
  linux: {
    namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
    maskedPaths: [],
    readonlyPaths: [],
    devices: [],
    seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [] },
  },
} as unknown as RuntimeSpec;

const judge = (parts: Parts, wanted = spec) =>
  judgeCheckpoint({ spec: wanted, filter: program }, stateOf(parts));
const withCredentials = (fields: Fields) => ({
  thread: { ...thread, 10: { ...credentials, ...fields } },
});

test("judgeCheckpoint() accepts a container like the one that is asked for", () => {
  expect(() => judge({})).not.toThrow();
});

const widened: readonly (readonly [name: string, Parts, reason: string])[] = [
  ["a capability in the bounding set", withCredentials({ 12: [NET_RAW | 1, 0] }), "CAP_CHOWN"],
  ["one of the second word", withCredentials({ 11: [0, 1 << 7] }), "CAP_BPF"],
  ["one that nobody knows", withCredentials({ 9: [0, 1 << 20] }), "0x"],
  ["an ambient one", withCredentials({ 19: [1 << 21, 0] }), "CAP_SYS_ADMIN"],
  [
    "packed numbers",
    withCredentials({ 10: Buffer.from([0x80, 0x80, 0x80, 0x01]) }),
    "CAP_SYS_ADMIN",
  ],
  ["new privileges", withCredentials({ 18: 0 }), "may gain privileges"],
  ["secure bits", withCredentials({ 13: 16 }), "secure bits"],
  ["another user", withCredentials({ 3: 5 }), "a process of user"],
  ["another group", withCredentials({ 14: [42] }), "a process of group 42"],
  ["no seccomp filter", { thread: { ...thread, 11: 0 } }, "without a seccomp filter"],
  ["a filter that is not there", { thread: { ...thread, 12: 7 } }, "another seccomp filter"],
  ["a thread without credentials", { thread: { 11: 2, 12: 0 } }, "without credentials"],
  ["the node's network", { ids: { ...ownIds, 6: 1 } }, "network namespace is the node's"],
  ["the node's mounts", { ids: { ...ownIds, 9: 1 } }, "mount namespace is the node's"],
  ["another user namespace", { ids: { ...ownIds, 10: 9 } }, "user namespace is not the node's"],
  [
    "a second network namespace",
    { more: { "ids-2.img": image("ids", encode({ ...ownIds, 6: 8 })) } },
    "a network namespace of its own",
  ],
  [
    "a second mount namespace",
    { more: { "mountpoints-2.img": image("mountPoints") } },
    "not exactly one mount namespace",
  ],
  ["a mount that nobody asked for", { mounts: [...mounts, { 1: 2, 6: "/", 7: "/sys" }] }, '"/sys"'],
  ["a mount over another", { mounts: [...mounts, { 1: 5, 6: "/", 7: "/proc" }] }, "two mounts"],
  ["fewer restrictions", { mounts: [mounts[0] ?? {}, { ...mounts[1], 5: 12 }] }, "is not nosuid"],
  [
    "another file system",
    { mounts: [mounts[0] ?? {}, { ...mounts[1], 1: 5 }] },
    "another file system",
  ],
  ["a part of it", { mounts: [mounts[0] ?? {}, { ...mounts[1], 6: "/1" }] }, "another file system"],
  [
    "the node's /proc",
    { mounts: [mounts[0] ?? {}, { ...mounts[1], 18: "/proc" }] },
    "another file",
  ],
  ["a shared mount", { mounts: [mounts[0] ?? {}, { ...mounts[1], 10: 7 }] }, "is shared"],
  ["no mount", { mounts: [mounts[0] ?? {}] }, 'nothing is mounted at "/proc"'],
  ["a raw socket", { files: [{ 1: 4, 2: 1, 4: { 3: 2, 4: 3, 5: 1 } }] }, "neither TCP nor UDP"],
  ["a packet socket", { files: [{ 1: 10, 2: 1 }] }, "type 10"],
  ["a TUN device", { files: [{ 1: 15, 2: 1 }] }, "type 15"],
  ["a BPF map", { files: [{ 1: 19, 2: 1 }] }, "type 19"],
  ["a file of the node", { files: [{ 1: 1, 2: 1, 3: { 6: "/etc/shadow", 9: 1 } }] }, "of the node"],
  [
    "a deleted device",
    { more: { "ghost-file-1.img": image("ghostFile", encode({ 3: 0o060_600 })) } },
    "is a device",
  ],
  [
    "a console of the node",
    { more: { "tty-info.img": image("terminals", encode({ 1: 1, 2: 2 })) } },
    "no pseudo-terminal",
  ],
  [
    "a network of its own making",
    { more: { "netdev-1.img": Buffer.alloc(0) } },
    "cannot be restored",
  ],
];

test.each(widened)("judgeCheckpoint() refuses %s", (_name, parts, reason) => {
  expect(() => judge(parts)).toThrow(reason);
});

test("judgeCheckpoint() takes further filters on top of the one that is asked for", () => {
  const seccomp = encode({ 1: { 1: program } });
  const more = encode({ 1: { 1: Buffer.from("more"), 2: 0 } });
  const both = image("seccomp", Buffer.concat([seccomp, more]));
  const parts = { thread: { ...thread, 12: 1 }, more: { "seccomp.img": both } };
  expect(() => judge(parts)).not.toThrow();
  const round = encode({ 1: { 1: Buffer.from("more"), 2: 0 } });
  const circle = { "seccomp.img": image("seccomp", round) };
  expect(() => judge({ more: circle })).toThrow("another seccomp filter");
});

test("judgeOpenFiles() lets a user open in volumes what it could open itself, by no way round", () => {
  using dir = tempDir();
  writeFileSync(`${dir.path}/secret`, "", { mode: 0o600 });
  writeFileSync(`${dir.path}/public`, "", { mode: 0o644 });
  mkdirSync(`${dir.path}/closed`, { mode: 0o700 });
  writeFileSync(`${dir.path}/closed/public`, "", { mode: 0o644 });
  symlinkSync("public", `${dir.path}/link`);
  chmodSync(dir.path, 0o755);
  using rootfs = tempDir();
  symlinkSync("v", `${rootfs.path}/to-v`);
  const bind = { destination: "/v", type: "bind", source: dir.path, options: ["rbind"] };
  const wanted = {
    ...spec,
    root: { path: rootfs.path, readonly: false },
    mounts: [
      ...spec.mounts,
      bind,
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: [] },
    ],
    process: { ...spec.process, user: { uid: 7, gid: 7, additionalGids: [] } },
  } as RuntimeSpec;
  const ids = { 1: 7, 2: 7, 3: 7, 4: 7, 5: 7, 6: 7, 7: 7, 8: 7, 12: [0, 0] };
  const mount = { root: 1, proc: 2, volume: 3, tmpfs: 4 };
  const tmpfsLinks = new Set(["fd"]);
  const open = (path: string, flags = 0, of = mount.volume) => {
    const signed = 2 * of;
    const parts = {
      ...withCredentials(ids),
      mounts: [
        ...mounts,
        { 1: 17, 2: 3, 6: "/", 7: "/v", 18: "/v" },
        { 1: 5, 2: 4, 6: "/", 7: "/tmp" },
      ],
      files: [{ 1: 1, 2: 1, 3: { 2: flags, 6: path, 7: signed } }],
    };
    judge(parts, wanted);
    judgeOpenFiles(wanted, stateOf(parts), tmpfsLinks);
  };
  expect(() => open("/v/public")).not.toThrow();
  expect(() => open("/v")).not.toThrow();
  expect(() => open("/v/deleted")).not.toThrow();
  expect(() => open("/bin/sh", 0, mount.root)).not.toThrow();
  expect(() => open("/fd/3", 0, mount.root)).not.toThrow();
  expect(() => open("/tmp/file", 0, mount.tmpfs)).not.toThrow();
  expect(() => open("/proc/meminfo", 0, mount.proc)).not.toThrow();
  for (const [path, flags, of, reason] of [
    ["/v/public", 1, mount.volume, "could not open"],
    ["/v/secret", 0, mount.volume, "could not open"],
    ["/v/closed/public", 0, mount.volume, "could not open"],
    ["/v/link", 0, mount.volume, "could not open"],
    ["/v/secret", 0, mount.root, "not in the mount"],
    ["/to-v/secret", 0, mount.root, "by way of a link"],
    ["/proc/1/root/v/secret", 0, mount.proc, "by way of a link"],
    ["/tmp/fd/3", 0, mount.tmpfs, "by way of a link"],
    ["/bin/../v/secret", 0, mount.root, "without a plain path"],
    ["//v/secret", 0, mount.root, "without a plain path"],
    ["v/secret", 0, mount.root, "without a plain path"],
  ] as const) {
    expect(() => open(path, flags, of)).toThrow(reason);
  }
});

describe("readCriuImage()", () => {
  test("refuses what ends early, is another file, or says something twice", () => {
    const good = image("files", encode({ 1: 1, 2: 5 }));
    expect(readCriuImage(good, "files", "f")[0]?.int(2)).toBe(5);
    for (let size = 0; size < good.byteLength; size++) {
      if (size === 8) continue; // a file without entries
      expect(() => readCriuImage(good.subarray(0, size), "files", "f")).toThrow();
    }
    expect(() => readCriuImage(good, "core", "f")).toThrow("not such an image");
    const twice = image("files", Buffer.concat([encode({ 1: 1 }), encode({ 1: 2 })]));
    expect(() => readCriuImage(twice, "files", "f")[0]?.int(1)).toThrow("twice");
    const endless = image("files", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]));
    expect(() => readCriuImage(endless, "files", "f")).toThrow("unreadable");
  });
});

test("isKnownImage() knows what containers consist of", () => {
  for (const name of [
    "core-1.img",
    "pages-12.img",
    "tmpfs-dev-48.tar.gz.img",
    "descriptors.json",
  ]) {
    expect(isKnownImage(name)).toBe(true);
  }
  for (const name of ["core-x.img", "iptables-1.img", "../core-1.img", "route-9.img", "a", ""]) {
    expect(isKnownImage(name)).toBe(false);
  }
});
