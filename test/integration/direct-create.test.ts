import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { readCgroupHost } from "../../src/cgroup/host.ts";
import { removeCgroup } from "../../src/cgroup/remove.ts";
import type { Log } from "../../src/lib/log.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { RuntimeSpec, SpecMount } from "../../src/oci/runtime-spec.ts";
import { OwnedFd } from "../../src/os/file/owned-fd.ts";
import { exchange } from "../../src/os/file/rename.ts";
import { DirectCreate } from "../../src/runtime/oci/direct/create/direct-create.ts";
import { Filters } from "../../src/runtime/oci/direct/filters.ts";
import { findBuilt } from "../harness/built.ts";
import { eventually } from "../harness/eventually.ts";
import { ctx, MonitoredNode } from "../harness/monitored.ts";
import { makeRootfs } from "../harness/run-spec.ts";

/* Images that attack whoever makes their containers, and what a first process holds while it waits. */

const createPath = findBuilt("pause", "create");
const helper = readFileSync(createPath);
const planned: string[] = [];
const log: Log = { ...silentLog, debug: (message) => planned.push(message) };

let direct: MonitoredNode;
let runc: MonitoredNode;
beforeAll(async () => {
  direct = await MonitoredNode.open();
  direct.directCreate = new DirectCreate({
    createPath,
    filters: new Filters(""),
    cgroup: readCgroupHost(),
    log,
  });
  runc = await MonitoredNode.open();
});
afterAll(async () => {
  await direct[Symbol.asyncDispose]();
  await runc[Symbol.asyncDispose]();
});

const all = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_MKNOD", "CAP_CHOWN"];
const mount = (destination: string, type: string, options: readonly string[] = []): SpecMount => ({
  ...{ destination, type, source: type, options },
});
const kernelMounts = [
  mount("/proc", "proc"),
  mount("/dev", "tmpfs", ["nosuid", "mode=755"]),
  mount("/sys", "sysfs", ["ro"]),
  mount("/dev/pts", "devpts", ["newinstance", "ptmxmode=0666"]),
  mount("/dev/mqueue", "mqueue"),
  mount("/sys/fs/cgroup", "cgroup", ["ro"]),
];

/** A spec as crib writes them. */
const specWith =
  (
    args: readonly string[],
    own: readonly SpecMount[] = [],
    linux: object = {},
    process: object = {},
  ) =>
  ({ rootfs, cgroup }: { readonly rootfs: string; readonly cgroup: string }): RuntimeSpec => ({
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [] },
      args,
      env: ["PATH=/bin", "HOME=/"],
      cwd: "/",
      capabilities: { bounding: all, effective: all, permitted: all, inheritable: [], ambient: [] },
      noNewPrivileges: false,
      oomScoreAdj: 0,
      ...process,
    },
    root: { path: rootfs, readonly: false },
    mounts: [...kernelMounts, ...own],
    linux: {
      namespaces: (["mount", "ipc", "uts", "pid"] as const).map((type) => ({ type })),
      cgroupsPath: cgroup,
      resources: { devices: [{ allow: false, access: "rwm" }] },
      devices: [],
      maskedPaths: ["/proc/kcore", "/proc/acpi", "/sys/firmware"],
      readonlyPaths: ["/proc/sys"],
      ...linux,
    },
  });

let images = 0;

/** A root file system of a test, and a directory beside it that nothing may change. */
function makeImage(change: (rootfs: string, canary: string) => void) {
  const dir = `${direct.stateDir}/images/${images++}`;
  mkdirSync(dir, { recursive: true });
  const rootfs = makeRootfs(dir);
  const canary = `${dir}/canary`;
  mkdirSync(`${canary}/inner`, { recursive: true });
  writeFileSync(`${canary}/file`, "canary\n");
  change(rootfs, canary);
  return { rootfs, canary };
}

const replaceBy =
  (path: string, target: string) =>
  (rootfs: string, canary: string): void => {
    rmSync(rootfs + path, { recursive: true, force: true });
    symlinkSync(target.replace("CANARY", canary), rootfs + path);
  };

const treeOf = (dir: string): readonly string[] =>
  readdirSync(dir, { recursive: true, encoding: "utf8" }).sort();

/** Those that one of the two may have left. */
const mountsOfNode = (): readonly string[] =>
  readFileSync("/proc/self/mountinfo", "latin1")
    .split("\n")
    .filter((line) => [direct, runc].some(({ stateDir }) => line.includes(stateDir)));

/** Its error, or what it has written and its exit code. */
async function outcome(node: MonitoredNode, ...options: Parameters<MonitoredNode["create"]>) {
  try {
    const container = await node.create(...options);
    await node.handler.start(ctx, container.id);
    const { exitCode } = await node.exit(container.id);
    await node.handler.delete(ctx, container.id);
    return `exit ${exitCode}: ${node.log(container)}`;
  } catch (err) {
    const reason = err instanceof Error ? err.message : String(err);
    const path = /\/run\/[^/ ]+\/(images\/\d+|containers\/[0-9a-f]{64})/gu;
    return reason.replaceAll(path, "DIR");
  }
}

const bindTo = (destination: string, source = "/etc/hostname"): SpecMount => ({
  ...{ destination, type: "bind", source, options: ["rbind", "rprivate", "ro"] },
});

test.each<[string, (rootfs: string, canary: string) => void, readonly SpecMount[]]>([
  ["/dev leads out", replaceBy("/dev", "CANARY"), []],
  ["/dev leads to another directory of the image", replaceBy("/dev", "/tmp"), []],
  ["/dev leads up and out", replaceBy("/dev", "../../../../../../../../../../../etc"), []],
  ["/proc leads out", replaceBy("/proc", "CANARY"), []],
  ["/proc leads to another directory of the image", replaceBy("/proc", "/tmp"), []],
  ["/sys leads out", replaceBy("/sys", "CANARY"), []],
  [
    "/dev is a file",
    (rootfs) => {
      rmSync(`${rootfs}/dev`, { recursive: true });
      writeFileSync(`${rootfs}/dev`, "");
    },
    [],
  ],
  ["a mount point leads out", replaceBy("/data", "CANARY"), [bindTo("/data/file")]],
  ["a mount point leads up", replaceBy("/data", "../../.."), [bindTo("/data/made/new")]],
  ["a mount point leads nowhere", replaceBy("/data", "CANARY/none"), [bindTo("/data/file")]],
  [
    "a mount point is a link that leads out",
    replaceBy("/etc/hosts", "CANARY/file"),
    [bindTo("/etc/hosts")],
  ],
  ["a mount point leads into /proc", replaceBy("/data", "/proc/self"), [bindTo("/data/attr/exec")]],
  ["a mount point leads to /proc", replaceBy("/data", "/proc"), [bindTo("/data", "/etc")]],
  ["a mount point leads to the root", replaceBy("/data", "/"), [bindTo("/data", "/etc")]],
  [
    "a mount point leads to a descriptor",
    replaceBy("/data", "/proc/self/fd/3"),
    [bindTo("/data/x")],
  ],
])("an image in which %s", async (_, change, own) => {
  const results = [];
  for (const node of [direct, runc]) {
    const { rootfs, canary } = makeImage(change);
    const before = treeOf(canary);
    const args = ["/bin/sh", "-c", "ls -d /proc/1 /dev/null"];
    results.push(await outcome(node, { args, rootfs, spec: specWith(args, own) }));
    expect(treeOf(canary)).toEqual(before);
    expect(readFileSync(`${canary}/file`, "latin1")).toBe("canary\n");
    expect(mountsOfNode()).toEqual([]);
  }
  expect(results[0]).toBe(results[1] ?? "");
});

test("masked paths that are links are masked where they lead in the container", async () => {
  const linux = { maskedPaths: ["/secret", "/outside", "/proc/kcore", "/proc/self/fd"] };
  const script = "wc -c </etc/passwd; ls /proc/1/fd | wc -l; cat /outside | wc -c; true";
  const args = ["/bin/sh", "-c", script];
  const results = [];
  for (const node of [direct, runc]) {
    const { rootfs, canary } = makeImage((root, outside) => {
      replaceBy("/secret", "/etc/passwd")(root, outside);
      replaceBy("/outside", "CANARY/file")(root, outside);
    });
    results.push(await outcome(node, { args, rootfs, spec: specWith(args, [], linux) }));
    expect(readFileSync(`${canary}/file`, "latin1")).toBe("canary\n");
  }
  expect(results[0]).toBe("exit 0: 0\n0\n0\n");
  expect(results[1]).toBe("exit 0: 0\n0\n0\n");
});

test("a mount point that is exchanged all the time never leads out", async () => {
  const { rootfs, canary } = makeImage((root) =>
    mkdirSync(`${root}/data/inner`, { recursive: true }),
  );
  symlinkSync(canary, `${rootfs}/link`);
  let isOver = false;
  const exchanging = (async () => {
    while (!isOver) {
      exchange(`${rootfs}/data`, `${rootfs}/link`);
      await Bun.sleep(0);
    }
  })();
  const before = treeOf(canary);
  const args = ["/bin/true"];
  for (let i = 0; i < 30; i++) {
    await outcome(direct, { args, rootfs, spec: specWith(args, [bindTo("/data/inner/made")]) });
    expect(treeOf(canary)).toEqual(before);
  }
  isOver = true;
  await exchanging;
});

test("a first process holds nothing of the node while it waits, and its program nothing at all", async () => {
  // Of those that start monitors, some are not to be closed on execution.
  using _open = new OwnedFd(openSync("/", "r"));
  const args = ["/bin/sh", "-c", "ls /proc/self/fd"];
  const container = await direct.create({ args, spec: specWith(args) });
  const { id, pid, bundle } = container;
  const held = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  expect(held.sort()).toEqual(
    [
      "/dev/null",
      "/proc/1/fd",
      `${direct.stateDir}/runc/${id}/exec.fifo`,
      `${bundle.dir}/stderr`,
      `${bundle.dir}/stdout`,
    ].sort(),
  );
  expect(readlinkSync(`/proc/${pid}/exe`)).toContain("memfd:");
  await direct.handler.start(ctx, id);
  await direct.exit(id);
  expect(direct.log(container)).toBe("0\n1\n2\n3\n"); // the last is that of ls itself
});

test("a program called /proc/self/exe finds nothing of the node, and changes nothing", async () => {
  const args = ["/proc/self/exe"];
  expect(await outcome(direct, { args, spec: specWith(args) })).toBe("exit 2: ");
  const script = "for i in 1 2 3; do echo x >/proc/self/exe; done; echo tried";
  const shell = ["/bin/sh", "-c", script];
  expect(await outcome(direct, { args: shell, spec: specWith(shell) })).toBe("exit 0: tried\n");
  const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  expect(hash(readFileSync(createPath))).toBe(hash(helper));
});

test("what fails is made by runc, which says why, and nothing is left", async () => {
  const args = ["/bin/true"];
  const own = [bindTo("/data", "/no/such/source")];
  const failure = await outcome(direct, { args, spec: specWith(args, own) });
  expect(failure).toContain("/no/such/source: no such file or directory");
  const left = readdirSync(`${direct.stateDir}/runc`).filter((id) =>
    existsSync(`${direct.stateDir}/runc/${id}/state-new`),
  );
  expect(left).toEqual([]);
});

test("a creation whose process is killed at any moment leaves nothing that cannot be removed", async () => {
  const args = ["/bin/true"];
  for (let i = 0; i < 20; i++) {
    const creating = outcome(direct, { args, spec: specWith(args) });
    await Bun.sleep(i % 10);
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/u.test(name))) {
      const argv = argvOf(pid);
      if (argv[1] === "create" && argv[3]?.startsWith(direct.stateDir)) kill(Number(pid));
    }
    await creating;
  }
  // As a removal of a container does.
  for (const id of readdirSync(`${direct.stateDir}/containers`)) {
    await direct.handler.delete(ctx, id);
    await removeCgroup(ctx, readCgroupHost(), `/crib-test/${id}`);
  }
  await eventually(() => expect(readdirSync(`${direct.stateDir}/runc`)).toEqual([]));
});

function argvOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

test("nothing of all this was left to runc by its plan", () => {
  expect(planned).toEqual([]);
});
