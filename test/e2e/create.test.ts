import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { createScript, type Pod, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { interestingCalls, runFilter } from "../harness/run-filter.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

/*
 * Every kind of container is made twice in the same pod, by crib itself and by runc, and all that can be seen of the two is
 * compared: what its first process finds out about itself, its mounts, its devices, its cgroups, what the image's files
 * have become, its filters call by call, and the state that is kept of it.
 */

type Fields = Readonly<Record<string, unknown>>;
type MountFields = MessageInitShape<typeof pb.MountSchema>;

const { CONTAINER, NODE, POD, TARGET } = pb.NamespaceMode;
const { SecurityProfile_ProfileType: ProfileType, MountPropagation: Propagation } = pb;
const runtimeDefault = { profileType: ProfileType.RuntimeDefault };
const debugLog = '[log]\nlevel = "debug"\n';

const maskedPaths = [
  ...["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats"],
  ...["/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
];
const readonlyPaths = [
  ...["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
];
const user = (uid: number): Fields => ({
  runAsUser: { value: BigInt(uid) },
  runAsGroup: { value: BigInt(uid + 1) },
  supplementalGroups: [7n, 60_000n],
});
const usual: Fields = { seccomp: runtimeDefault, maskedPaths, readonlyPaths };

/** A profile of a node's administrator. */
const profile = {
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
  flags: ["SECCOMP_FILTER_FLAG_LOG"],
  syscalls: [
    { names: ["bpf", "add_key", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 99 },
    {
      names: ["socket"],
      action: "SCMP_ACT_ERRNO",
      args: [{ index: 0, value: 38, op: "SCMP_CMP_EQ" }],
    },
  ],
};

interface Kind {
  readonly pod?: "plain" | "privileged" | "node" | "network" | "shared" | "sysctl";
  readonly pid?: pb.NamespaceMode;
  readonly security?: Fields;
  readonly resources?: MessageInitShape<typeof pb.LinuxContainerResourcesSchema>;
  readonly mounts?: readonly MountFields[];
  readonly config?: Fields;
}

let temp: TempDir;
const onNode = (path: string): string => `${temp.path}/node/${path}`;

const privileged = { pod: "privileged" } as const;

/** Made anew for each use: they name files of the test's own directory. */
function kinds(): Readonly<Record<string, Kind>> {
  const dir = (more: MountFields = {}): MountFields => ({
    containerPath: "/data",
    hostPath: onNode("dir"),
    ...more,
  });
  return {
    "root, unconfined": {},
    "as a kubelet sends it": { security: usual },
    "user with groups": { security: { ...usual, ...user(1000) } },
    "user without new privileges": { security: { ...usual, ...user(65_534), noNewPrivs: true } },
    restricted: {
      security: {
        ...usual,
        ...user(1000),
        noNewPrivs: true,
        readonlyRootfs: true,
        capabilities: { dropCapabilities: ["ALL"] },
      },
    },
    "no capabilities": { security: { capabilities: { dropCapabilities: ["ALL"] } } },
    "all capabilities": { security: { ...usual, capabilities: { addCapabilities: ["ALL"] } } },
    "ambient capability": {
      security: {
        ...usual,
        ...user(1000),
        capabilities: {
          addCapabilities: ["SYS_ADMIN"],
          dropCapabilities: ["MKNOD"],
          addAmbientCapabilities: ["NET_BIND_SERVICE"],
        },
      },
    },
    "read-only root": { security: { ...usual, readonlyRootfs: true } },
    unmasked: { security: { maskedPaths: [], readonlyPaths: [] } },
    "masked files, twice, and what is not there": {
      security: {
        maskedPaths: ["/etc/passwd", "/etc/../etc/passwd", "/etc", "/no/such", "/bin/../tmp"],
        readonlyPaths: ["/tmp", "/no/such", "/bin", "/proc/sys"],
      },
    },
    memory: { resources: { memoryLimitInBytes: 64n << 20n } },
    "memory and swap": {
      resources: { memoryLimitInBytes: 64n << 20n, memorySwapLimitInBytes: 96n << 20n },
    },
    "memory without end": { resources: { memoryLimitInBytes: -1n } },
    "shares and quota": {
      resources: { cpuShares: 102n, cpuQuota: 50_000n, cpuPeriod: 60_000n },
    },
    "smallest shares": { resources: { cpuShares: 2n, cpuQuota: -1n } },
    "one processor": { resources: { cpusetCpus: "0", cpusetMems: "0", cpuShares: 1024n } },
    "first to go": { resources: { oomScoreAdj: 987n } },
    "directory that is made": { config: { workingDir: "/srv/made/deep" } },
    "directory of a user": { security: user(1000), config: { workingDir: "/tmp" } },
    environment: {
      config: {
        envs: [
          { key: "EMPTY", value: Buffer.from("") },
          { key: "LINES", value: Buffer.from("a\nb") },
          { key: "LETTERS", value: Buffer.from("öß=%$") },
          { key: "PATH", value: Buffer.from("/opt:/bin") },
        ],
        args: ["", "a b", "ö", "--", "'\"\\"],
      },
    },
    "profile of the administrator": { security: { noNewPrivs: true } },
    "profile of the administrator, new privileges": { security: user(1000) },
    privileged: { ...privileged, security: { privileged: true } },
    "privileged user": { ...privileged, security: { privileged: true, ...user(1000) } },
    "privileged with the node's /dev": {
      ...privileged,
      security: { privileged: true },
      mounts: [{ containerPath: "/dev", hostPath: "/dev" }],
    },
    "node's namespaces": { pod: "node", pid: NODE, security: usual },
    "node's network": { pod: "network", security: usual },
    "pod's processes": { pod: "shared", pid: POD, security: usual },
    "another container's processes": { pid: TARGET, security: usual },
    "pod with sysctls": { pod: "sysctl", security: usual },
    terminal: { security: usual, config: { tty: true, stdin: true } },
    "terminal of a user": { security: { ...usual, ...user(1000) }, config: { tty: true } },
    "terminal, read-only root": {
      security: { ...usual, readonlyRootfs: true },
      config: { tty: true, stdin: true },
    },
    "open stdin": { security: usual, config: { stdin: true } },
    "open stdin of a user": { security: { ...usual, ...user(1000) }, config: { stdin: true } },
    "directory of the node": { mounts: [dir()] },
    "read-only directory of the node": { mounts: [dir({ readonly: true })] },
    "recursively read-only": { mounts: [dir({ readonly: true, recursiveReadOnly: true })] },
    "mounts of the node come in": {
      mounts: [dir({ propagation: Propagation.PROPAGATION_HOST_TO_CONTAINER })],
    },
    "mounts go both ways": {
      ...privileged,
      security: { privileged: true },
      mounts: [dir({ propagation: Propagation.PROPAGATION_BIDIRECTIONAL })],
    },
    "file of the node, where nothing is": {
      mounts: [{ containerPath: "/opt/new/place/file", hostPath: onNode("file"), readonly: true }],
    },
    "a place with all kinds of letters": {
      mounts: [{ containerPath: '/srv/ö \\u0001"<&>\u2028', hostPath: onNode("dir") }],
    },
    "file of the node over another": {
      mounts: [{ containerPath: "/etc/passwd", hostPath: onNode("file") }],
    },
    "link of the node": { mounts: [{ containerPath: "/linked", hostPath: onNode("link") }] },
    "files of the pod, the container's own": {
      mounts: [
        { containerPath: "/etc/hosts", hostPath: onNode("file") },
        { containerPath: "/dev/shm", hostPath: onNode("dir") },
        { containerPath: "/dev/termination-log", hostPath: onNode("file") },
      ],
    },
    "mounts in mounts": {
      mounts: [
        dir(),
        dir({ containerPath: "/data/inner" }),
        { containerPath: "/data/inner/file", hostPath: onNode("file") },
      ],
    },
    device: {
      config: {
        devices: [
          { containerPath: "/dev/some", hostPath: "/dev/zero", permissions: "r" },
          { containerPath: "/dev/deep/er", hostPath: "/dev/full", permissions: "rwm" },
          { containerPath: "/dev/null", hostPath: "/dev/null", permissions: "rw" },
        ],
      },
    },
  };
}

/** What is another process's by its nature. */
const volatile =
  /^\/proc\/self\/status: (Pid|Tgid|NStgid|NSpid|NSpgid|NSsid|Vm\w+|Rss\w+|Hugetlb\w+|SigQ|\w*voluntary_ctxt_switches):/;

let daemon: Daemon;
const pods = new Map<string, Pod>();
let target = "";

beforeAll(async () => {
  temp = tempDir();
  mkdirSync(onNode(""));
  run("mount", "-t", "tmpfs", "node", onNode(""));
  run("mount", "--make-shared", onNode(""));
  for (const path of ["dir/below", "dir/inner"]) mkdirSync(onNode(path), { recursive: true });
  for (const path of ["file", "dir/file", "dir/inner/file"]) writeFileSync(onNode(path), "node\n");
  symlinkSync("dir", onNode("link"));
  run("mount", "-t", "tmpfs", "-o", "nosuid,noatime", "below", onNode("dir/below"));
  writeFileSync(`${temp.path}/profile.json`, JSON.stringify(profile));
  daemon = await Daemon.start({ demoImage: true, config: debugLog });
  for (const [name, { sysctls = {}, ...namespaceOptions }] of Object.entries<{
    readonly sysctls?: Record<string, string>;
    readonly pid: pb.NamespaceMode;
  }>({
    plain: { pid: CONTAINER },
    privileged: { pid: CONTAINER },
    node: { pid: NODE, network: NODE, ipc: NODE } as { readonly pid: pb.NamespaceMode },
    network: { pid: CONTAINER, network: NODE } as { readonly pid: pb.NamespaceMode },
    shared: { pid: POD },
    sysctl: { pid: CONTAINER, sysctls: { "net.ipv4.ip_unprivileged_port_start": "80" } },
  })) {
    const securityContext = { namespaceOptions, privileged: name === "privileged" };
    const linux = create(pb.LinuxPodSandboxConfigSchema, { securityContext, sysctls });
    pods.set(name, await runPod(daemon.cri, temp.path, { linux }));
  }
  target = await startScript(daemon.cri, need(pods.get("plain")), "exec sleep 100000");
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  for (const path of ["dir/below", ""]) run("umount", onNode(path));
  temp[Symbol.dispose]();
});

function run(...command: readonly [string, ...string[]]): void {
  const { exitCode, stderr } = Bun.spawnSync([...command]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
}

function need<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("it is missing");
  return value;
}

async function createKind(name: string, kind: Kind, command: readonly string[]): Promise<string> {
  const { pod = "plain", pid = CONTAINER, mounts = [] } = kind;
  const namespaces = {
    node: { network: NODE, ipc: NODE },
    network: { network: NODE },
  }[pod as string];
  const linux = create(pb.LinuxContainerConfigSchema, {
    resources: kind.resources ?? {},
    securityContext: {
      namespaceOptions: { pid, targetId: pid === TARGET ? target : "", ...namespaces },
      ...(name.startsWith("profile")
        ? {
            seccomp: {
              profileType: ProfileType.Localhost,
              localhostRef: `${temp.path}/profile.json`,
            },
          }
        : {}),
      ...kind.security,
    } as object,
  });
  const own = { containerPath: "/facts", hostPath: parts.facts, readonly: true };
  return await createScript(daemon.cri, need(pods.get(pod)), "", {
    command: [...command],
    ...kind.config,
    linux,
    mounts: [own, ...mounts].map((it) => create(pb.MountSchema, it)),
  } as object);
}

interface Seen {
  readonly state: object;
  readonly files: readonly string[];
  readonly cgroups: readonly string[];
  readonly process: readonly string[];
}

async function infoOf(containerId: string): Promise<{ readonly pid: number }> {
  const { info } = await daemon.cri.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info["info"] ?? "{}") as { readonly pid: number };
}

async function seeKind(name: string, kind: Kind): Promise<Seen> {
  const id = await createKind(name, kind, ["/facts"]);
  const { pid } = await infoOf(id);
  const mountinfo = readFileSync(`/proc/${pid}/mountinfo`, "utf8");
  const upper = need(/upperdir=([^,]+)/u.exec(mountinfo)?.[1]);
  const before = {
    state: stateOf(id, pid),
    files: [
      ...(kind.mounts?.some((it) => it.containerPath === "/dev")
        ? []
        : tree(`/proc/${pid}/root/dev`, "/dev")),
      ...tree(upper, "upper"),
    ],
    cgroups: cgroupsOf(id),
  };
  await daemon.cri.runtime.startContainer({ containerId: id });
  const { logPath } = await eventually(async () => {
    const status = await statusOf(daemon.cri, id);
    if (status.state !== pb.ContainerState.CONTAINER_EXITED) throw new Error("it has not ended");
    expect([name, status.exitCode, status.reason]).toEqual([name, 0, "Completed"]);
    return status;
  });
  const text = readLog(logPath).replaceAll("\r\n", "\n").replaceAll(id, "ID");
  await daemon.cri.runtime.removeContainer({ containerId: id });
  const lines = text
    .replace(/\bPPid:\t[1-9]\d*/, "PPid: a process of the node")
    .replace(/session keyring \d+/u, "session keyring")
    .split("\n")
    .filter((line) => !volatile.test(line));
  return { ...before, process: normalizeMounts(lines) };
}

/** The numbers of mounts, peer groups and file systems without a device, by the order in which they come. */
function normalizeMounts(lines: readonly string[]): readonly string[] {
  const seen = new Map<string, number>();
  const index = (key: string) => {
    if (!seen.has(key)) seen.set(key, seen.size);
    return seen.get(key);
  };
  return lines.map((line) => {
    const found = /^(\/proc\/self\/mountinfo: )(\d+) (\d+) (\d+:\d+) (.*)$/su.exec(line);
    if (found === null) return line.replace(/(mnt|pid|pid_for_children):\[\d+\]/u, "$1:[]");
    const [, what, id, parent, device, rest = ""] = found;
    const groups = rest.replace(/(shared|master|propagate_from):(\d+)/gu, (_, kind, group) => {
      return `${kind}:${index(`group ${group}`)}`;
    });
    return `${what}${index(`mount ${id}`)} ${index(`mount ${parent}`)} ${index(`device ${device}`)} ${groups}`;
  });
}

function stateOf(id: string, pid: number): object {
  const file = `${daemon.state}/runtime/runc/${id}/state.json`;
  const state = JSON.parse(textOf(id, file)) as {
    init_process_pid: number;
    init_process_start: number;
    created: string;
    namespace_paths: Record<string, string>;
    config: { labels: string[] };
  };
  expect(state.init_process_pid).toBe(pid);
  expect(state.init_process_start).toBe(startTimeOf(pid));
  expect(Math.abs(Date.parse(state.created) - Date.now())).toBeLessThan(600_000);
  state.config.labels.sort();
  const paths = Object.entries(state.namespace_paths).map(
    ([name, path]) => [name, path.replace(`/proc/${pid}/`, "/proc/PID/")] as const,
  );
  return {
    ...state,
    init_process_pid: 0,
    init_process_start: 0,
    created: "",
    namespace_paths: Object.fromEntries(paths),
  };
}

/** Without the names that a container has for itself. */
function textOf(id: string, file: string): string {
  return readFileSync(file, "utf8")
    .replaceAll(id, "ID")
    .replaceAll(/=container-\d+"/gu, '=NAME"');
}

function startTimeOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
}

/** Every file below: what it is, whose, and for links where to. */
function tree(dir: string, shown: string): readonly string[] {
  return readdirSync(dir)
    .sort()
    .flatMap((name) => {
      const path = `${dir}/${name}`;
      const { mode, uid, gid, rdev } = lstatSync(path);
      const link = (mode & 0o170_000) === 0o120_000 ? ` -> ${readlinkSync(path)}` : "";
      const line = `${shown}/${name} ${mode.toString(8)} ${uid}:${gid} ${rdev}${link}`;
      const isDirectory = (mode & 0o170_000) === 0o040_000;
      return [line, ...(isDirectory ? tree(path, `${shown}/${name}`) : [])];
    });
}

const limitFiles =
  /^(memory\.(limit_in_bytes|memsw\.limit_in_bytes|soft_limit_in_bytes|swappiness|use_hierarchy)|cpu\.(shares|cfs_.*_us|idle)|cpuset\.(cpus|mems|.*exclusive)|devices\.list|pids\.max|freezer\.state|notify_on_release|cgroup\.(type|freeze|max.*))$/u;

function cgroupsOf(id: string): readonly string[] {
  return readdirSync("/sys/fs/cgroup").flatMap((hierarchy) => {
    const dir = `/sys/fs/cgroup/${hierarchy}/crib/${id}`;
    const { mode, uid, gid } = lstatSync(dir);
    const processes = readFileSync(`${dir}/cgroup.procs`, "latin1").trim().split("\n").length;
    return [
      `${hierarchy}: ${mode.toString(8)} ${uid}:${gid}, ${processes} processes`,
      ...readdirSync(dir)
        .filter((name) => limitFiles.test(name))
        .sort()
        .map((name) => `${hierarchy}: ${name} ${readFileSync(`${dir}/${name}`, "latin1")}`),
    ];
  });
}

async function seeAll(): Promise<ReadonlyMap<string, Seen>> {
  const all = new Map<string, Seen>();
  for (const [name, kind] of Object.entries(kinds())) all.set(name, await seeKind(name, kind));
  return all;
}

/** Those whose filters differ: with and without new privileges, and one of each profile. */
const filtered = [
  ...["root, unconfined", "as a kubelet sends it", "user without new privileges", "restricted"],
  ...["all capabilities", "profile of the administrator", "ambient capability"],
  "profile of the administrator, new privileges",
];

async function filtersOf(name: string): Promise<readonly Buffer[]> {
  const id = await createKind(name, need(kinds()[name]), ["/bin/sleep", "100000"]);
  await daemon.cri.runtime.startContainer({ containerId: id });
  const { pid } = await infoOf(id);
  const found = Bun.spawnSync([parts.facts, "filter", String(pid)]);
  expect(found.stderr.toString()).toBe("");
  await daemon.cri.runtime.removeContainer({ containerId: id });
  const lines = found.stdout.toString().split("\n").slice(0, -1);
  return lines.map((line) => Buffer.from(line, "hex"));
}

async function allFilters(): Promise<ReadonlyMap<string, readonly Buffer[]>> {
  const all = new Map<string, readonly Buffer[]>();
  for (const name of filtered) all.set(name, await filtersOf(name));
  return all;
}

const compared = new Set<string>();

function expectSame(own: Buffer, runtimes: Buffer): void {
  const pair = `${own.toString("hex")} ${runtimes.toString("hex")}`;
  if (compared.has(pair)) return;
  compared.add(pair);
  const different = [];
  for (const call of interestingCalls()) {
    if (runFilter(own, call) !== runFilter(runtimes, call)) different.push(call);
  }
  expect(different.slice(0, 10)).toEqual([]);
}

test("a container that crib makes itself is like one that runc makes, of every kind", async () => {
  const [seen, filters] = [await seeAll(), await allFilters()];
  const left = [...daemon.log.matchAll(/delegated to the runtime".*"reason":"([^"]*)"/gu)].map(
    (it) => it[1],
  );
  expect(left).toEqual([]);

  await daemon.end("SIGTERM");
  await daemon.start(`${debugLog}[runtime]\ncreate = "runtime"\n`);
  const different: string[] = [];
  let first: { readonly own: unknown; readonly runtimes: unknown } | undefined;
  for (const [name, runtimes] of await seeAll()) {
    const own = need(seen.get(name));
    for (const part of ["state", "files", "cgroups", "process"] as const) {
      if (Bun.deepEquals(own[part], runtimes[part])) continue;
      different.push(`${name}: ${part}`);
      first ??= { own: own[part], runtimes: runtimes[part] };
    }
  }
  // The first one in full, of the others the names.
  expect(first?.own).toEqual(first?.runtimes);
  expect(different).toEqual([]);
  for (const [name, found] of await allFilters()) {
    const own = need(filters.get(name));
    expect([name, own.length]).toEqual([name, found.length]);
    for (const [i, filter] of found.entries()) expectSame(need(own[i]), filter);
  }
  await daemon.end("SIGTERM");
  await daemon.start();
});

test.each([
  ["a program that is not there", ["no-such-program"], "/", "executable file not found in $PATH"],
  ["a path where nothing is", ["/no/such/program"], "/", "no such file or directory"],
  ["a file that may not be executed", ["/etc/passwd"], "/", "permission denied"],
  ["a directory", ["/etc"], "/", "is a directory"],
  ["an empty name", [""], "/", "not found"],
  ["a working directory that is a file", ["true"], "/etc/passwd", "not a directory"],
])("%s is found when the container is started", async (_, command, workingDir, reason) => {
  const kind = { security: usual, config: { workingDir } };
  const containerId = await createKind("started", kind, command);
  const failure = await daemon.cri.runtime.startContainer({ containerId }).then(() => "", String);
  expect(failure).toContain(reason);
  const status = await statusOf(daemon.cri, containerId);
  expect([status.state, status.exitCode, status.reason]).toEqual([
    pb.ContainerState.CONTAINER_EXITED,
    128,
    "StartError",
  ]);
});
