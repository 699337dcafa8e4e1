import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon, processes } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type Pod, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { interestingCalls, runFilter } from "../harness/run-filter.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

/** Fields of a LinuxContainerSecurityContext. */
type Security = Readonly<Record<string, unknown>>;

const { CONTAINER, NODE, POD, TARGET } = pb.NamespaceMode;
const { SecurityProfile_ProfileType: ProfileType } = pb;
const runtimeDefault = { profileType: ProfileType.RuntimeDefault };
const debugLog = '[log]\nlevel = "debug"\n';

const range = { containerId: 0, hostId: 300_000, length: 65_536 };
const usernsOptions = { mode: POD, uids: [range], gids: [{ ...range, hostId: 500_000 }] };

/** A profile of a node's administrator with all that runc treats in a way of its own. */
const profile = {
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  flags: ["SECCOMP_FILTER_FLAG_LOG"],
  syscalls: [
    { names: ["bpf", "add_key", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 99 },
    { names: ["keyctl"], action: "SCMP_ACT_LOG" },
    {
      names: ["socket"],
      action: "SCMP_ACT_ERRNO",
      args: [
        { index: 0, value: 38, op: "SCMP_CMP_EQ" },
        { index: 1, value: 5, op: "SCMP_CMP_LE" },
      ],
    },
    {
      names: ["personality"],
      action: "SCMP_ACT_KILL_PROCESS",
      args: [
        { index: 0, value: 0x4_0000, op: "SCMP_CMP_EQ" },
        { index: 0, value: 0xffff_ffff, valueTwo: 0x5_0000, op: "SCMP_CMP_MASKED_EQ" },
      ],
    },
  ],
};

interface Variant {
  readonly pod?: "plain" | "privileged" | "mapped" | "node" | "shared";
  readonly pid?: pb.NamespaceMode;
  readonly security?: Security;
  readonly resources?: MessageInitShape<typeof pb.LinuxContainerResourcesSchema>;
  readonly config?: object;
}

const user = (uid: number): Security => ({
  runAsUser: { value: BigInt(uid) },
  runAsGroup: { value: BigInt(uid + 1) },
  supplementalGroups: [7n, 60_000n],
});

const variants: Readonly<Record<string, Variant>> = {
  "root, unconfined": {},
  "root, default filter": { security: { seccomp: runtimeDefault } },
  "user with groups and a directory of its own": {
    security: { ...user(1000), seccomp: runtimeDefault },
    config: { workingDir: "/tmp/mine/deep" },
  },
  "user without new privileges": {
    security: { ...user(65_534), noNewPrivs: true, seccomp: runtimeDefault },
  },
  "root without capabilities": {
    security: { capabilities: { dropCapabilities: ["ALL"] }, noNewPrivs: true },
  },
  "user with an ambient capability": {
    security: {
      ...user(1000),
      seccomp: runtimeDefault,
      capabilities: {
        addCapabilities: ["SYS_ADMIN", "SYS_PTRACE"],
        dropCapabilities: ["MKNOD"],
        addAmbientCapabilities: ["NET_BIND_SERVICE"],
      },
    },
  },
  "read-only, limited, first to go": {
    security: { readonlyRootfs: true, seccomp: runtimeDefault },
    resources: {
      memoryLimitInBytes: 64n << 20n,
      oomScoreAdj: 900n,
      cpuQuota: 50_000n,
      cpuPeriod: 60_000n,
      cpusetCpus: "0",
    },
  },
  "profile of the administrator": { security: { noNewPrivs: true } },
  "profile of the administrator, new privileges": { security: user(1000) },
  privileged: { pod: "privileged", security: { privileged: true } },
  "node's processes": { pod: "node", pid: NODE, security: { seccomp: runtimeDefault } },
  "pod's processes": { pod: "shared", pid: POD },
  "another container's processes": { pid: TARGET },
  "user namespace": { pod: "mapped", security: { seccomp: runtimeDefault } },
  "user namespace, user": {
    pod: "mapped",
    security: { ...user(1000), noNewPrivs: true, seccomp: runtimeDefault },
  },
  terminal: { config: { tty: true, stdin: true } },
};

/** What is another process's by its nature. */
const volatile =
  /^\/proc\/self\/status: (Pid|Tgid|NStgid|NSpid|NSpgid|NSsid|Vm\w+|Rss\w+|SigQ|\w*voluntary_ctxt_switches):/;

let temp: TempDir;
let daemon: Daemon;
const ids = new Map<string, string>();

beforeAll(async () => {
  temp = tempDir();
  writeFileSync(`${temp.path}/profile.json`, JSON.stringify(profile));
  daemon = await Daemon.start({ demoImage: true, config: debugLog });
  const pods = new Map<string, Pod>();
  for (const [name, namespaceOptions] of Object.entries({
    plain: { pid: CONTAINER },
    privileged: { pid: CONTAINER },
    mapped: { pid: CONTAINER, usernsOptions },
    node: { pid: NODE, network: NODE, ipc: NODE },
    shared: { pid: POD },
  })) {
    const securityContext = { namespaceOptions, privileged: name === "privileged" };
    const linux = create(pb.LinuxPodSandboxConfigSchema, { securityContext });
    pods.set(name, await runPod(daemon.cri, temp.path, { linux }));
  }
  const target = await startScript(daemon.cri, need(pods.get("plain")), "exec sleep 100000");
  const localhostRef = `${temp.path}/profile.json`;
  for (const [name, variant] of Object.entries(variants)) {
    const { pod = "plain", pid = CONTAINER } = variant;
    const mapped = pod === "mapped" ? { usernsOptions } : {};
    const node = pod === "node" ? { network: NODE, ipc: NODE } : {};
    const linux = create(pb.LinuxContainerConfigSchema, {
      resources: variant.resources ?? {},
      securityContext: {
        namespaceOptions: { pid, targetId: pid === TARGET ? target : "", ...mapped, ...node },
        ...(name.startsWith("profile")
          ? { seccomp: { profileType: ProfileType.Localhost, localhostRef } }
          : {}),
        ...variant.security,
      } as object,
    });
    const mounts = [{ containerPath: "/facts", hostPath: parts.facts, readonly: true }].map((it) =>
      create(pb.MountSchema, it),
    );
    const envs = [create(pb.KeyValueSchema, { key: "SOME", value: Buffer.from("thing\nö") })];
    const config = { ...variant.config, linux, mounts, envs } as object;
    const script = "exec sleep 100000";
    ids.set(name, await startScript(daemon.cri, need(pods.get(pod)), script, config));
  }
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  temp[Symbol.dispose]();
});

function need<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("it is missing");
  return value;
}

async function exec(containerId: string, cmd: readonly string[], timeout = 300n) {
  const result = await daemon.cri.runtime.execSync({ containerId, cmd: [...cmd], timeout });
  const { exitCode } = result;
  return { exitCode, stdout: text(result.stdout), stderr: text(result.stderr) };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

async function factsOf(containerId: string): Promise<readonly string[]> {
  const { stdout, stderr, exitCode } = await exec(containerId, ["/facts"]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  // In the node's PID namespace a command sees its parent: the daemon, or a runtime that is about to end.
  const lines = stdout.replace(/\bPPid:\t[1-9]\d*/, "PPid: a process of the node").split("\n");
  return lines.filter((line) => !volatile.test(line));
}

let sleeps = 8_000_000;

/** The filters of a process in the container, newest first. */
async function filtersOf(containerId: string): Promise<readonly Buffer[]> {
  const seconds = String(++sleeps);
  const running = exec(containerId, ["sleep", seconds]).catch(() => {});
  const { pid } = await eventually(() =>
    need(processes().find(({ argv }) => argv[0] === "sleep" && argv[1] === seconds)),
  );
  const found = Bun.spawnSync([parts.facts, "filter", String(pid)]);
  process.kill(pid, "SIGKILL");
  await running;
  expect(found.stderr.toString()).toBe("");
  const lines = found.stdout.toString().split("\n").slice(0, -1);
  return lines.map((line) => Buffer.from(line, "hex"));
}

/** What both ways of running a command give, in every container. */
async function allFacts(): Promise<ReadonlyMap<string, readonly string[]>> {
  const all = new Map<string, readonly string[]>();
  for (const [name, id] of ids) all.set(name, await factsOf(id));
  return all;
}

async function allFilters(): Promise<ReadonlyMap<string, readonly Buffer[]>> {
  const all = new Map<string, readonly Buffer[]>();
  for (const [name, id] of ids) all.set(name, await filtersOf(id));
  return all;
}

const badCommands: readonly (readonly string[])[] = [
  ["no-such-program"],
  ["/no/such/program"],
  ["./relative"],
  ["/etc/passwd"],
  ["/etc"],
  [""],
];

/** One after the other until the first error, which it returns. */
async function execUntilFailure(id: string): Promise<string> {
  for (;;) {
    try {
      await exec(id, ["true"]);
    } catch (err) {
      return String(err);
    }
  }
}

test("a command that crib runs itself is like one of the runtime's, in every container", async () => {
  const [facts, filters] = [await allFacts(), await allFilters()];
  expect(daemon.log).not.toMatch(/exec delegated to the runtime|direct exec disabled/u);
  const failures = await errorsOf(need(ids.get("root, default filter")));

  await daemon.end("SIGTERM");
  await daemon.start(`${debugLog}[runtime]\nexec = "runtime"\n`);
  for (const [name, found] of await allFacts()) {
    expect([name, ...found]).toEqual([name, ...need(facts.get(name))]);
  }
  for (const [name, found] of await allFilters()) {
    const own = need(filters.get(name));
    expect([name, own.length]).toEqual([name, found.length]);
    for (const [i, filter] of found.entries()) expectSame(need(own[i]), filter);
  }
  expect(await errorsOf(need(ids.get("root, default filter")))).toEqual(failures);
  await daemon.end("SIGTERM");
  await daemon.start();
});

async function errorsOf(id: string): Promise<readonly string[]> {
  const errors: string[] = [];
  for (const cmd of badCommands) {
    errors.push(await exec(id, cmd).then(({ exitCode }) => `exit ${exitCode}`, String));
  }
  return errors;
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

test("exit codes, signals, streams, and names of streams", async () => {
  for (const name of ["root, unconfined", "user without new privileges", "user namespace, user"]) {
    const id = need(ids.get(name));
    const sh = (commands: string) => exec(id, ["sh", "-c", commands]);
    expect(await sh("echo out; echo err >&2; exit 42")).toEqual({
      exitCode: 42,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await sh("echo again >/dev/stdout; kill -9 $$")).toMatchObject({
      exitCode: 137,
      stdout: "again\n",
    });
    expect((await sh("cat; ls /proc/self/fd")).stdout).toBe("0\n1\n2\n3\n");
  }
  // What starts commands, started once more by one of them: it ends, and is nobody's to change.
  const root = need(ids.get("root, unconfined"));
  await exec(root, ["sh", "-c", "echo '#!/proc/self/exe' >/tmp/trick && chmod 755 /tmp/trick"]);
  expect(await exec(root, ["/tmp/trick"])).toEqual({ exitCode: 2, stdout: "", stderr: "" });
});

test("a command is killed with all that it started when its time is over", async () => {
  const id = need(ids.get("root, default filter"));
  const script = "sleep 7001 & (setsid sleep 7002 &) ; sh -c 'sleep 7003 & sleep 7004'";
  const error = await exec(id, ["sh", "-c", script], 1n).then(() => "no error", String);
  expect(error).toContain("deadline_exceeded");
  await eventually(() => {
    const left = processes().filter(({ argv }) => /^700[134]$/.test(argv[1] ?? ""));
    expect(left).toEqual([]);
  });
});

test("output beyond the limit, and a background process that holds on to it", async () => {
  const id = need(ids.get("root, default filter"));
  const { stdout } = await exec(id, ["sh", "-c", "head -c 20000000 /dev/zero"]);
  expect(stdout).toEndWith("[crib: output truncated]\n");
  // Had it to wait, its time would be over.
  expect((await exec(id, ["sh", "-c", "sleep 1000 & echo done"])).stdout).toBe("done\n");
});

test("200 commands at once, and the end of the container among them", async () => {
  const id = need(ids.get("user namespace"));
  const all = Array.from({ length: 200 }, (_, i) => exec(id, ["sh", "-c", `echo ${i}; exit ${i}`]));
  for (const [i, result] of (await Promise.all(all)).entries()) {
    expect(result).toEqual({ exitCode: i, stdout: `${i}\n`, stderr: "" });
  }
  const victim = need(ids.get("user with groups and a directory of its own"));
  const failing = Array.from({ length: 8 }, () => execUntilFailure(victim));
  await daemon.cri.runtime.stopContainer({ containerId: victim, timeout: 0n });
  for (const failure of await Promise.all(failing)) {
    expect(failure).toMatch(/not running|stopped|no such process|interrupted|runc exec/i);
  }
  await eventually(() => {
    expect(processes().filter(({ argv }) => argv[0] === "enter")).toEqual([]);
  });
});

test("a frozen container is refused, and nothing waits in it", async () => {
  const id = need(ids.get("root, unconfined"));
  const { info } = await daemon.cri.runtime.containerStatus({ containerId: id, verbose: true });
  const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
  const groups = readFileSync(`/proc/${pid}/cgroup`, "latin1").split("\n");
  const version1 = groups.find((line) => line.includes(":freezer:"))?.split(":")[2];
  const version2 = groups.find((line) => line.startsWith("0::"))?.slice(3);
  const [file, frozen, thawed] =
    version1 === undefined
      ? [`/sys/fs/cgroup${version2}/cgroup.freeze`, "1", "0"]
      : [`/sys/fs/cgroup/freezer${version1}/freezer.state`, "FROZEN", "THAWED"];
  writeFileSync(file, frozen);
  await eventually(() => expect(readFileSync(file, "latin1").trim()).toBe(frozen));
  const failure = await exec(id, ["true"]).then(() => "no failure", String);
  writeFileSync(file, thawed);
  expect(failure).toContain("paused container");
  expect(await exec(id, ["true"])).toMatchObject({ exitCode: 0 });
});

test("commands in a container that hardly gets any time", async () => {
  const pod = await runPod(daemon.cri, temp.path);
  const linux = create(pb.LinuxContainerConfigSchema, {
    resources: { cpuPeriod: 100_000n, cpuQuota: 1000n },
    securityContext: { namespaceOptions: { pid: CONTAINER }, seccomp: runtimeDefault } as object,
  });
  const id = await startScript(daemon.cri, pod, "exec sleep 100000", { linux });
  const results = await Promise.all(Array.from({ length: 10 }, () => exec(id, ["true"])));
  expect(results.map(({ exitCode }) => exitCode)).toEqual(Array(10).fill(0));
});

test("a container gets hold of nothing that is about to become its program", async () => {
  const pod = await runPod(daemon.cri, temp.path);
  const mounts = [create(pb.MountSchema, { containerPath: "/watch", hostPath: parts.watch })];
  const id = await startScript(daemon.cri, pod, "exec /watch", { mounts });
  const { logPath } = await statusOf(daemon.cri, id);
  const own = /^CapEff.*$/m.exec((await exec(id, ["cat", "/proc/self/status"])).stdout)?.[0];
  await eventually(async () => {
    for (let i = 0; i < 50; i++) await exec(id, ["true"]);
    expect(readLog(logPath)).toContain("seen");
  });
  for (const line of readLog(logPath).split("\n").slice(0, -1)) {
    if (line === "seen") continue; // it had ended before its status was read
    expect(line).not.toContain("GOT");
    expect(line).toContain(need(own));
  }
});
