import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { createScript, type Pod, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { openCommand } from "../harness/streams/command-client.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

/** CRIU is the node's, and works with kernels of its time only. */
const canRestore = existsSync(parts.criu) && Bun.spawnSync([parts.criu, "check"]).exitCode === 0;
if (!canRestore) console.log("no CRIU that works with this kernel: nothing is restored");

const { CONTAINER } = pb.NamespaceMode;
type Security = Omit<
  MessageInitShape<typeof pb.LinuxContainerSecurityContextSchema>,
  "$typeName" | "$unknown"
>;
type Config = NonNullable<Parameters<typeof createScript>[3]>;

/**
 * As a kubelet sends it for a container that gives up what it can, but for its user: where the daemon may not change
 * limits (CAP_SYS_RESOURCE), CRIU cannot dump processes of others. In the guest it can.
 */
const restricted = {
  namespaceOptions: { pid: CONTAINER },
  seccomp: { profileType: pb.SecurityProfile_ProfileType.RuntimeDefault },
  maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/scsi", "/proc/no-such", "/sys/firmware"],
  readonlyPaths: ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
  runAsUser: { value: 0n },
  runAsGroup: { value: 0n },
  supplementalGroups: [7n],
  noNewPrivs: true,
  capabilities: { dropCapabilities: ["ALL"] },
} as const satisfies Security;

const counting = `i=0; while :; do i=$((i + 1)); echo $i; echo $i >/data/count; sleep 0.2; done`;
const serving = "exec nc -ll -p 7000 -e cat";

/** Two nodes, which have directories in common. */
class Nodes implements Disposable {
  readonly #dir = tempDir();
  readonly archives = `${this.#dir.path}/archives`;
  readonly logs = `${this.#dir.path}/logs`;
  readonly data = `${this.#dir.path}/data`;

  constructor() {
    for (const dir of [this.archives, this.logs]) mkdirSync(dir);
    mkdirSync(this.data);
  }

  async start(): Promise<Daemon> {
    const config = `[checkpoint]\nrestore_from = [${JSON.stringify(this.archives)}]`;
    return await Daemon.start({ demoImage: true, programs: dirname(parts.criu), config });
  }

  logOf(pod: Pod, name: string): string {
    return `${this.logs}/${pod.config.metadata?.name}/${name}`;
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

async function output(node: Daemon, containerId: string, ...cmd: string[]): Promise<string> {
  const { stdout } = await node.cri.runtime.execSync({ containerId, cmd, timeout: 60n });
  return Buffer.from(stdout).toString();
}

test.skipIf(!canRestore)(
  "a restricted container goes on from its checkpoint on another node, and only as it was asked for",
  async () => {
    using nodes = new Nodes();
    const archive = `${nodes.archives}/counter.tar`;
    const usual: Config = {
      logPath: "counter.log",
      linux: { securityContext: restricted },
      mounts: [
        { hostPath: nodes.data, containerPath: "/data" },
        { hostPath: nodes.logs, containerPath: "/read-only", readonly: true },
      ],
    };
    {
      await using first = await nodes.start();
      const pod = await runPod(first.cri, nodes.logs);
      const id = await startScript(first.cri, pod, counting, usual as object);
      await eventually(() => expect(readLog(nodes.logOf(pod, "counter.log"))).toContain("5\n"));
      await first.cri.runtime.checkpointContainer({ containerId: id, location: archive });
    }
    await using second = await nodes.start();
    const { runtime } = second.cri;
    const pod = await runPod(second.cri, nodes.logs);
    const create = (config: Config) =>
      createScript(second.cri, pod, counting, {
        ...usual,
        image: { image: archive },
        ...config,
      } as object);

    const other = (security: Security): Config => ({
      linux: { securityContext: { ...restricted, ...security } },
    });
    const mount = { hostPath: nodes.logs, containerPath: "/more" };
    const refusals: readonly (readonly [Config, string])[] = [
      [{ command: ["/bin/sh", "-c", "exec sh"] }, "its args is"],
      [{ workingDir: "/tmp" }, "its cwd is"],
      [{ tty: true }, "its terminal is"],
      [other({ runAsUser: { value: 1002n } }), "its user is"],
      [other({ runAsGroup: { value: 1002n } }), "its group is"],
      [other({ supplementalGroups: [] }), "a process of group 7"],
      [other({ readonlyRootfs: true }), "its root file system is writable"],
      [other({ maskedPaths: ["/proc/interrupts"] }), '"/proc/interrupts" is not protected'],
      [other({ maskedPaths: [] }), "a mount that the request has not"],
      [other({ readonlyPaths: ["/proc/irq"] }), '"/proc/irq" is not protected'],
      [{ mounts: [...(usual.mounts ?? []), mount] }, 'nothing is mounted at "/more"'],
      [{ mounts: usual.mounts?.slice(0, 1) ?? [] }, "a mount that the request has not"],
      [
        { mounts: (usual.mounts ?? []).map((one) => ({ ...one, readonly: true })) },
        'the mount at "/data" is not ro',
      ],
      [
        other({
          seccomp: {
            profileType: pb.SecurityProfile_ProfileType.Localhost,
            localhostRef: await profileFile(nodes),
          },
        }),
        "runs with another seccomp filter",
      ],
    ];
    for (const [config, reason] of refusals) {
      const { code, message } = await failure(create(config));
      expect({ config, code, message }).toMatchObject({
        code: Code.FailedPrecondition,
        message: expect.stringContaining(reason),
      });
    }
    expect(readdirSync(`${second.root}/checkpoints`)).toEqual([]);
    expect((await runtime.listContainers({})).containers).toEqual([]);

    const id = await create({ logPath: "goes-on.log" });
    const log = nodes.logOf(pod, "goes-on.log");
    expect((await statusOf(second.cri, id)).state).toBe(pb.ContainerState.CONTAINER_CREATED);
    await runtime.startContainer({ containerId: id });
    await eventually(() => expect(readLog(log).split("\n").length).toBeGreaterThan(5));
    const lines = readLog(log).split("\n").slice(0, -1).map(Number);
    expect(lines[0]).toBeGreaterThan(4);
    expect(lines).toEqual(lines.map((_, i) => (lines[0] ?? 0) + i));
    expect(Number(await output(second, id, "cat", "/data/count"))).toBeGreaterThan(4);
    const status = await output(second, id, "cat", "/proc/1/status");

    expect(status).toMatch(/^CapBnd:\s+0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(status).toMatch(/^Seccomp:\s+2$/m);
    expect(readdirSync(`${second.root}/checkpoints`)).toEqual([]);
    await runtime.stopContainer({ containerId: id, timeout: 0n });
    expect((await statusOf(second.cri, id)).exitCode).toBe(137);
    await runtime.removeContainer({ containerId: id });
    const gone = await create({ logPath: "never.log" });
    await runtime.removeContainer({ containerId: gone });
    expect(readdirSync(`${second.root}/checkpoints`)).toEqual([]);
  },
);

async function profileFile(nodes: Nodes): Promise<string> {
  const file = `${nodes.archives}/profile.json`;
  writeFileSync(file, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [] }));
  return file;
}

test.skipIf(!canRestore)("a TCP server and a shell on a terminal go on", async () => {
  using nodes = new Nodes();
  const names = ["server", "shell"] as const;
  const archiveOf = (name: string) => `${nodes.archives}/${name}.tar`;
  const scripts = { server: serving, shell: "exec sh" };
  const configs: Readonly<Record<string, Config>> = {
    server: { logPath: "server.log" },
    shell: { tty: true, stdin: true, logPath: "shell.log" },
  };
  const wanted = { stdin: true, stdout: true, tty: true };
  {
    await using first = await nodes.start();
    const pod = await runPod(first.cri, nodes.logs);
    for (const name of names) {
      const id = await startScript(first.cri, pod, scripts[name], configs[name] as object);
      if (name === "shell") {
        const { url } = await first.cri.runtime.attach({ containerId: id, ...wanted });
        using client = await openCommand("websocket", url, wanted);
        await client.write("said=hello; echo rea''dy\n");
        await client.stdout.until("ready");
      } else {
        const ask = `echo before | nc -w 1 127.0.0.1 7000`;
        await eventually(async () =>
          expect(await output(first, id, "sh", "-c", ask)).toBe("before\n"),
        );
      }
      const location = archiveOf(name);
      await first.cri.runtime.checkpointContainer({ containerId: id, location });
    }
  }
  await using second = await nodes.start();
  const pod = await runPod(second.cri, nodes.logs);
  for (const name of names) {
    const image = { image: archiveOf(name) };
    const config = { ...configs[name], image } as object;
    const id = await startScript(second.cri, pod, scripts[name], config);
    if (name === "shell") {
      const { url } = await second.cri.runtime.attach({ containerId: id, ...wanted });
      using client = await openCommand("websocket", url, wanted);
      await client.write("echo $said again\n");
      await client.stdout.until("hello again");
    } else {
      const ask = `echo after | nc -w 1 127.0.0.1 7000`;
      await eventually(async () =>
        expect(await output(second, id, "sh", "-c", ask)).toBe("after\n"),
      );
    }
  }
});

const document = (value: object) => JSON.stringify(value);
const someImage = `sha256:${"0".repeat(64)}`;
const whole: readonly TarEntry[] = [
  { type: "file", path: "config.dump", data: document({ rootfsImageRef: someImage }) },
  { type: "file", path: "spec.dump", data: "{}" },
  { type: "directory", path: "checkpoint" },
  { type: "file", path: "checkpoint/inventory.img", data: "x" },
];
const without = (path: string) => whole.filter((entry) => entry.path !== path);
const file = (path: string, data = "x"): TarEntry => ({ type: "file", path, data });

const archives: readonly (readonly [name: string, tar: Uint8Array, reason: string])[] = [
  ["no tar archive", Buffer.from("hello ".repeat(1000)), "tar"],
  ["an archive that ends early", packTar(whole).subarray(0, 1100), "in the middle"],
  ["an archive of something else", packTar([file("hello")]), "config.dump is missing"],
  ["no memory", packTar(without("checkpoint/inventory.img")), "inventory.img is missing"],
  ["a name that leads out", packTar([file("../escape"), ...whole]), "no name of a file"],
  ["a name inside that leads out", packTar([...whole, file("checkpoint/../../x")]), "no name"],
  ["an absolute name", packTar([file("/etc/passwd"), ...whole]), "no name of a file"],
  [
    "a link",
    packTar([{ type: "symlink", path: "checkpoint/files.img", target: "/etc/shadow" }, ...whole]),
    "is a symlink",
  ],
  [
    "a link in the place of the directory",
    packTar([{ type: "symlink", path: "checkpoint", target: "/etc" }, ...whole]),
    "its image",
  ],
  [
    "a hard link",
    packTar([...whole, { type: "hard-link", path: "rootfs-diff.tar", target: "config.dump" }]),
    "is a hard-link",
  ],
  ["a device", packTar([...whole, { type: "fifo", path: "checkpoint/pages-1.img" }]), "is a fifo"],
  ["a name that is there twice", packTar([...whole, file("spec.dump", "{}")]), "is there twice"],
  ["BPF maps", packTar([...whole, file("checkpoint/bpfmap-file.img")]), "cannot be restored"],
  ["AppArmor policies", packTar([...whole, file("checkpoint/apparmor.img")]), "cannot be restored"],
  ["a directory in it", packTar([...whole, file("checkpoint/a/b.img")]), "cannot be restored"],
  ["deleted files", packTar([...whole, file("deleted.files", "[]")]), "not supported"],
  [
    "a document without end",
    packTar([file("config.dump", " ".repeat(17 << 20)), ...without("config.dump")]),
    "over 16777216 bytes",
  ],
  [
    "more than allowed",
    packTar([...whole, file("checkpoint/pages-1.img", "x".repeat(33 << 20))]),
    "over 33554432 bytes",
  ],
  [
    "too many files",
    packTar([...Array(10_001).keys()].map((i) => file(`${i}`, ""))),
    "10000 entries",
  ],
  [
    "nested JSON",
    packTar([file("config.dump", "[".repeat(100)), ...without("config.dump")]),
    "config.dump",
  ],
  [
    "an image by its name",
    packTar([
      file("config.dump", document({ rootfsImageRef: "app:1" })),
      ...without("config.dump"),
    ]),
    "names no digest",
  ],
  ["an image that is not there", packTar(whole), "is not on this node"],
];

test("hostile archives are refused with their reason, and leave nothing", async () => {
  using dir = tempDir();
  const from = `${dir.path}/archives`;
  mkdirSync(from);
  const settings = `[checkpoint]\nrestore_from = [${JSON.stringify(from)}]\nmax_bytes = 33554432`;
  await using daemon = await Daemon.start({ demoImage: true, config: settings });
  const pod = await runPod(daemon.cri, dir.path);
  const create = (image: string) =>
    failure(createScript(daemon.cri, pod, "true", { image: { image } } as object));
  for (const [name, tar, reason] of archives) {
    writeFileSync(`${from}/one.tar`, tar);
    const { message } = await create(`${from}/one.tar`);
    expect({ name, message }).toEqual({ name, message: expect.stringContaining(reason) });
  }
  symlinkSync("/etc/passwd", `${from}/link.tar`);
  mkdirSync(`${from}/sub`);
  symlinkSync("/etc", `${from}/sub/dir`);
  Bun.spawnSync(["mkfifo", `${from}/fifo`]);
  const places: readonly (readonly [string, Code])[] = [
    [`${from}/link.tar`, Code.InvalidArgument],
    [`${from}/sub/dir/passwd`, Code.InvalidArgument],
    [`${from}/fifo`, Code.InvalidArgument],
    [`${from}/sub`, Code.InvalidArgument],
    [`${from}/none.tar`, Code.NotFound],
    [`${from}/../x.tar`, Code.FailedPrecondition],
    ["/etc/passwd", Code.FailedPrecondition],
    [`${from}-other/x.tar`, Code.FailedPrecondition],
  ];
  for (const [place, code] of places) expect(await create(place)).toMatchObject({ code });
  expect(readdirSync(`${daemon.root}/checkpoints`)).toEqual([]);
  expect((await daemon.cri.runtime.listContainers({})).containers).toEqual([]);
  expect(readdirSync(`${daemon.root}/snapshots/containers`)).toEqual([]);
});

test("nothing is restored unless the configuration says from where", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, dir.path);
  writeFileSync(`${dir.path}/x.tar`, packTar(whole));
  const config = { image: { image: `${dir.path}/x.tar` } } as object;
  const refused = await failure(createScript(daemon.cri, pod, "true", config));
  expect(refused.code).toBe(Code.FailedPrecondition);
  expect(refused.message).toContain("restore_from");
});
