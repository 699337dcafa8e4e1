import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { readCgroupHost } from "../../src/cgroup/host.ts";
import { parseBlockIoClasses } from "../../src/container/spec/class/block-io.ts";
import { readSpecHost } from "../../src/container/spec/host.ts";
import { buildInfraSpec } from "../../src/container/spec/infra.ts";
import {
  MountPropagation,
  NamespaceMode,
  SecurityProfile_ProfileType,
} from "../../src/gen/runtime/v1/api_pb.ts";
import {
  MNT_DETACH,
  MS_BIND,
  MS_PRIVATE,
  MS_SHARED,
  mount,
  umount,
} from "../../src/os/mount/mount.ts";
import { eventually } from "../harness/eventually.ts";
import {
  type ConfigInit,
  findRunc,
  makeEnvironment,
  makeRootfs,
  type RunResult,
  runSpec,
  specOf,
} from "../harness/run-spec.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

const runc = findRunc();
const temp = tempDir();
const dir = temp.path;
afterAll(() => temp[Symbol.dispose]());

const rootfs = makeRootfs(dir);
const environment = makeEnvironment(dir);
const ownPid = { namespaceOptions: { pid: NamespaceMode.CONTAINER } };
let count = 0;

type Context = NonNullable<NonNullable<ConfigInit["linux"]>["securityContext"]>;

/** Runs a shell script in a container with this security context, in a PID namespace of its own. */
async function sh(
  script: string,
  context: Context = {},
  more: ConfigInit = {},
): Promise<RunResult> {
  const name = `spec-${process.pid}-${count++}`;
  const init: ConfigInit = {
    command: ["/bin/sh", "-c", script],
    ...more,
    linux: { ...more.linux, securityContext: { ...ownPid, ...context } },
  } as ConfigInit;
  return await runSpec(runc, dir, name, await specOf(init, { rootfs, environment, name }));
}

async function out(script: string, context: Context = {}, more: ConfigInit = {}): Promise<string> {
  const result = await sh(script, context, more);
  expect({ stderr: result.stderr, exitCode: result.exitCode }).toEqual({ stderr: "", exitCode: 0 });
  return result.stdout.trim();
}

const status = (field: string) => `sed -n 's/^${field}:\\t*//p' /proc/self/status`;
const runtimeDefault: Context = {
  seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault },
};

const disk = readdirSync("/sys/block").find((name) => existsSync(`/dev/${name}`));
const v1 = readCgroupHost().version !== 2;
const ownCgroup = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const readonlyPlaces = ["/y", "/etc/hosts", "/sys/kernel/mm/ksm/run", `${ownCgroup}/x`];

describe("a container of buildContainerSpec() under runc", () => {
  test("runs as the user asked for, with its groups, home and environment", async () => {
    const context = { runAsUser: { value: 1000n }, supplementalGroups: [1234n] };
    const env = { envs: [{ key: "A", value: Buffer.from("b=c\nd ü") }] };
    const lines = await out(`id -u; id -g; id -G; echo $HOME $HOSTNAME; echo "$A"`, context, env);
    expect(lines).toBe("1000\n1000\n1000 1234 50000\n/home/alice pod-a\nb=c\nd ü");
    expect(await out(status("Groups"), { ...context, supplementalGroupsPolicy: 1 })).toBe(
      "1000 1234",
    );
  });

  test("has the default capabilities, what it adds, and none when it drops ALL", async () => {
    const caps = (context: Context) => out(`${status("CapInh")}; ${status("CapBnd")}`, context);
    expect(await caps({})).toBe("0000000000000000\n00000000a80425fb");
    expect(await caps({ capabilities: { addCapabilities: ["net_admin"] } })).toBe(
      "0000000000000000\n00000000a80435fb",
    );
    expect(await caps({ capabilities: { dropCapabilities: ["ALL"] } })).toBe(
      "0000000000000000\n0000000000000000",
    );
    const bounding = /^CapBnd:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    expect(await caps({ capabilities: { addCapabilities: ["ALL"] } })).toEndWith(`\n${bounding}`);
    const nonRoot = { runAsUser: { value: 1000n } };
    expect(await out(`${status("CapEff")}; ${status("CapAmb")}`, nonRoot)).toBe(
      "0000000000000000\n0000000000000000",
    );
    const ambient = { ...nonRoot, capabilities: { addAmbientCapabilities: ["NET_BIND_SERVICE"] } };
    expect(await out(`${status("CapEff")}; ${status("CapAmb")}`, ambient)).toBe(
      "0000000000000400\n0000000000000400",
    );
  });

  test("sets no_new_privs, oom_score_adj and the working directory", async () => {
    const more = { workingDir: "/new/dir", linux: { resources: { oomScoreAdj: 500n } } };
    const script = `${status("NoNewPrivs")}; cat /proc/self/oom_score_adj; pwd`;
    expect(await out(script, { noNewPrivs: true }, more)).toBe("1\n500\n/new/dir");
    const low = { linux: { resources: { oomScoreAdj: -997n } } };
    expect(Number(await out("cat /proc/self/oom_score_adj", {}, low))).toBeLessThanOrEqual(0);
  });

  test("may have as many files open as services of systemd, and may raise that", async () => {
    const own = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    const hard = Math.min(Number(own?.[1]), 524_288);
    expect(await out("ulimit -Sn; ulimit -Hn; ulimit -Sn 2000 && ulimit -Sn")).toBe(
      `1024\n${hard}\n2000`,
    );
  });

  test("has the devices, files, groups and hooks of a CDI device, whatever the image says", async () => {
    const cdi = `${dir}/cdi`;
    mkdirSync(cdi);
    const hook = `${dir}/hook`;
    writeFileSync(hook, `#!/bin/sh\nenv >${dir}/hook.env\n`, { mode: 0o755 });
    const containerEdits = {
      env: ["DEVICE=zero"],
      deviceNodes: [
        { path: "/dev/mine", hostPath: "/dev/loop-control", permissions: "r", gid: 44 },
      ],
      mounts: [{ hostPath: `${dir}/hosts`, containerPath: "/opt/file", options: ["ro"] }],
      hooks: [{ hookName: "createRuntime", path: hook, env: ["FROM=cdi"] }],
      additionalGids: [44],
    };
    const device = { name: "zero", containerEdits };
    const file = { cdiVersion: "0.8.0", kind: "test.example/mem", devices: [device] };
    writeFileSync(`${cdi}/test.json`, JSON.stringify(file));
    const name = `spec-${process.pid}-${count++}`;
    const script = `echo $DEVICE; id -G; stat -c %g /dev/mine; (: </dev/mine) && echo open; cat /opt/file
      echo x >/dev/mine`;
    const init: ConfigInit = {
      command: ["/bin/sh", "-c", script],
      envs: [{ key: "LD_PRELOAD", value: Buffer.from("./evil.so") }],
      CDIDevices: [{ name: "test.example/mem=zero" }],
      annotations: { "cdi.k8s.io/x": "test.example/mem=other" },
      linux: { securityContext: ownPid },
    };
    const at = { rootfs, environment, name, cdiSpecDirs: [cdi] };
    const { stdout, stderr } = await runSpec(runc, dir, name, await specOf(init, at));
    expect(stdout).toBe("zero\n0 44\n44\nopen\nhosts");
    expect(stderr).toContain("can't create /dev/mine: Operation not permitted");
    const hookEnv = readFileSync(`${dir}/hook.env`, "utf8");
    expect(hookEnv).toContain("FROM=cdi");
    expect(hookEnv).not.toContain("LD_PRELOAD");
  });

  test.if(v1 && disk !== undefined)("has the limits of a block I/O class", async () => {
    const name = `spec-${process.pid}-${count++}`;
    const init: ConfigInit = {
      command: ["/bin/cat", "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device"],
      annotations: { "io.kubernetes.cri.blockio-class": "slow" },
      linux: { securityContext: ownPid },
    };
    const rule = { Devices: [`/dev/${disk}`], ThrottleReadBps: "60M" };
    const blockIoClasses = parseBlockIoClasses({ classes: { slow: [rule] } }, "classes");
    const at = { rootfs, environment, name, blockIoClasses };
    const { stdout } = await runSpec(runc, dir, name, await specOf(init, at));
    expect(stdout).toBe(`${readFileSync(`/sys/block/${disk}/dev`, "utf8").trim()} 60000000\n`);
  });

  test("filters system calls only where it should", async () => {
    const seccomp = status("Seccomp");
    expect(await out(seccomp)).toBe("0");
    expect(await out(seccomp, { seccomp: { profileType: 1 } })).toBe("0");
    expect(await out(seccomp, runtimeDefault)).toBe("2");
    expect(await out(seccomp, { ...runtimeDefault, privileged: true })).toBe("0");
    expect(await out(seccomp, { seccompProfilePath: "runtime/default" })).toBe("2");
    const unshare = await sh("unshare -U true", runtimeDefault);
    expect(unshare.stderr).toContain("Operation not permitted");
    expect((await sh("unshare -U true")).exitCode).toBe(0);
  });

  test("obeys a seccomp profile of the node", async () => {
    const profile = `${dir}/profile.json`;
    writeFileSync(
      profile,
      JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["chmod", "fchmodat", "fchmodat2"], action: "SCMP_ACT_ERRNO" }],
      }),
    );
    const result = await sh("chmod 400 /", { seccomp: { profileType: 2, localhostRef: profile } });
    expect(result.stderr).toContain("Operation not permitted");
    expect(result.exitCode).toBe(1);
  });

  test("does not see masked paths and does not write read-only ones", async () => {
    const context = { maskedPaths: ["/bin/ls"], readonlyPaths: ["/proc/sys"] };
    const masked = await sh("/bin/ls", context);
    expect(masked.stderr).toBe("/bin/sh: /bin/ls: Permission denied\n");
    const write = await sh("echo 1 >/proc/sys/kernel/hostname", context);
    expect(write.stderr).toContain("Read-only file system");
    const rest = await sh(`touch ${readonlyPlaces.join(" ")}`, { readonlyRootfs: true });
    const refused = rest.stderr.trim().split("\n");
    expect(refused).toEqual(readonlyPlaces.map((p) => `touch: ${p}: Read-only file system`));
  });

  test("may do everything when privileged", async () => {
    const script = `ls /dev | grep -c . ; mount -t tmpfs t /tmp && echo mounted; ls /dev/kmsg`;
    const lines = (await out(script, { privileged: true })).split("\n");
    expect(Number(lines[0])).toBeGreaterThan(15);
    expect(lines.slice(1)).toEqual(["mounted", "/dev/kmsg"]);
    expect(
      await out("mount -o remount,rw /sys 2>/dev/null; test -w /sys && echo writable", {
        privileged: true,
      }),
    ).toBe("writable");
  });

  test("has the pod's files and its own mounts, parents first", async () => {
    mkdirSync(`${dir}/data/sub`, { recursive: true });
    writeFileSync(`${dir}/data/file`, "from the node");
    symlinkSync(`${dir}/data`, `${dir}/link`);
    writeFileSync(`${dir}/own-hosts`, "own");
    const mounts = [
      { hostPath: `${dir}/missing/deep`, containerPath: "/a/b/c" },
      { hostPath: `${dir}/link`, containerPath: "/a", readonly: true, selinuxRelabel: true },
      { hostPath: `${dir}/own-hosts`, containerPath: "/etc/hosts" },
    ];
    mkdirSync(`${dir}/data/b/c`, { recursive: true });
    const script = `cat /a/file /etc/hosts /etc/hostname /etc/resolv.conf; touch /a/b/c/new; touch /a/x; echo shm >/dev/shm/f`;
    const result = await sh(script, {}, { mounts });
    expect(result.stdout).toBe("from the nodeownhostnameresolv.conf");
    expect(result.stderr).toBe("touch: /a/x: Read-only file system\n");
    expect(await Bun.file(`${dir}/missing/deep/new`).exists()).toBe(true);
    expect(await Bun.file(`${dir}/shm/f`).text()).toBe("shm\n");
  });

  test("makes a mount read-only to its depth only when asked", async () => {
    const base = `${dir}/tree`;
    mkdirSync(`${base}/inner`, { recursive: true });
    mount("inner", `${base}/inner`, "tmpfs", 0);
    using _inner = { [Symbol.dispose]: () => umount(`${base}/inner`, MNT_DETACH) };
    const tree = { hostPath: base, containerPath: "/tree", readonly: true };
    const script = "touch /tree/x || touch /tree/inner/x";
    expect((await sh(script, {}, { mounts: [tree] })).exitCode).toBe(0);
    const deep = await sh(script, {}, { mounts: [{ ...tree, recursiveReadOnly: true }] });
    expect(deep.stderr.match(/Read-only file system/g)).toHaveLength(2);
  });

  test("passes mounts on as its propagation says, and refuses where it cannot", async () => {
    const base = `${dir}/shared`;
    mkdirSync(`${base}/inner`, { recursive: true });
    const propagation = MountPropagation.PROPAGATION_BIDIRECTIONAL;
    const mounts = [{ hostPath: base, containerPath: "/m", propagation }];
    mount(base, base, "", MS_BIND);
    using _base = { [Symbol.dispose]: () => umount(base, MNT_DETACH) };
    mount("", base, "", MS_PRIVATE);
    await expect(sh("true", {}, { mounts })).rejects.toThrow("not shared");
    mount("", base, "", MS_SHARED);
    await out("mount -t tmpfs t /m/inner && touch /m/inner/seen", { privileged: true }, { mounts });
    expect(await Bun.file(`${base}/inner/seen`).exists()).toBe(true);
    umount(`${base}/inner`, MNT_DETACH);
  });

  test("gets the devices asked for and no other", async () => {
    const devices = [
      { hostPath: "/dev/loop-control", containerPath: "/dev/own", permissions: "r" },
    ];
    expect(await out(": </dev/own && echo opened", {}, { devices })).toBe("opened");
    const write = await sh(": >/dev/own", {}, { devices });
    expect(write.stderr).toContain("Operation not permitted");
    const other = await sh("mknod /tmp/x c 10 237 && : </tmp/x");
    expect(other.stderr).toContain("Operation not permitted");
  });

  test("is limited by its cgroup", async () => {
    const resources = {
      cpuShares: 512n,
      cpuQuota: 50_000n,
      cpuPeriod: 100_000n,
      memoryLimitInBytes: 64n << 20n,
      hugepageLimits: [{ pageSize: "2MB", limit: 0n }],
      unified: { "memory.oom.group": "1" },
    };
    const files = v1
      ? ["cpu/cpu.cfs_quota_us", "cpu/cpu.shares", "memory/memory.limit_in_bytes"]
      : ["cpu.max", "memory.max"];
    const script = `cd /sys/fs/cgroup && cat ${files.join(" ")}`;
    const expected = v1 ? "50000\n512\n67108864" : "50000 100000\n67108864";
    expect(await out(script, {}, { linux: { resources } })).toBe(expected);
  });

  test("joins the namespaces of its pod", async () => {
    const holder = Bun.spawn(
      [
        "unshare",
        "--net",
        "--ipc",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        "hostname in-pod; echo ready; exec sleep 6000",
      ],
      { stdout: "pipe" },
    );
    try {
      await holder.stdout.getReader().read();
      const ns = (kind: string) => `/proc/${holder.pid}/ns/${kind}`;
      const infraPid = Number(
        readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, "utf8"),
      );
      await eventually(() =>
        expect(readFileSync(`/proc/${infraPid}/cmdline`, "latin1")).toContain("sleep"),
      );
      const pod = makeEnvironment(dir, {
        netns: ns("net"),
        ipcns: ns("ipc"),
        utsns: ns("uts"),
        podPidns: `/proc/${infraPid}/ns/pid`,
        hostname: "", // what the container sees is what the namespace has
      });
      const name = `spec-${process.pid}-pod`;
      const init = {
        command: [
          "/bin/sh",
          "-c",
          "hostname; ls /sys/class/net; echo $$; ps -o args | grep -c 'sleep 6[0]00'",
        ],
      };
      const spec = await specOf(init, { rootfs, environment: pod, name });
      const result = await runSpec(runc, dir, name, spec);
      const [hostname, net, pid, sleepers] = result.stdout.trim().split("\n");
      expect([hostname, net, sleepers]).toEqual(["in-pod", "lo", "1"]);
      expect(Number(pid)).toBeGreaterThan(1);
    } finally {
      holder.kill("SIGKILL");
      await holder.exited;
    }
  });
});

test("buildInfraSpec() makes a process that holds a PID namespace and may do nothing", async () => {
  const root = `${dir}/infra-root`;
  mkdirSync(root);
  const name = `infra-${process.pid}`;
  const spec = buildInfraSpec({
    environment,
    rootfs: root,
    isMachine: false,
    pausePath: parts.pause,
    cgroupPath: `/crib-test-${name}`,
    annotations: {},
    host: readSpecHost(readCgroupHost()),
  });
  const bundle = `${dir}/${name}`;
  mkdirSync(bundle);
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  const run = (...args: string[]) =>
    Bun.spawnSync([runc, "--root", `${dir}/runc`, ...args], {
      stdio: ["ignore", "ignore", "ignore"],
    });
  const pidFile = `${bundle}/pid`;
  const started = run("run", "-d", "--pid-file", pidFile, "--bundle", bundle, name);
  try {
    expect(started.exitCode).toBe(0);
    const text = readFileSync(`/proc/${readFileSync(pidFile, "utf8")}/status`, "utf8");
    const field = (key: string) => new RegExp(`^${key}:\\s*(.*)$`, "m").exec(text)?.[1];
    expect(["CapBnd", "CapEff", "NoNewPrivs", "Seccomp"].map(field)).toEqual([
      "0000000000000000",
      "0000000000000000",
      "1",
      "2",
    ]);
    expect(field("Uid")).toStartWith("65535");
    expect(field("NSpid")?.split(/\s+/).at(-1)).toBe("1");
  } finally {
    run("delete", "--force", name);
  }
});
