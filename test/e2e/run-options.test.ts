import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { demoImage as image } from "../harness/pod.ts";

let daemon: Daemon;
let crib: CribCommand;
let dir: string;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
  crib = new CribCommand(daemon);
  dir = mkdtempSync("/tmp/crib-run-options-");
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const sh = (script: string) => [image, "sh", "-c", script];

/** What a container of these options prints. */
const printed = async (options: readonly string[], script: string) =>
  await crib.ok("run", "--rm", ...options, ...sh(script));

test("what the options say is so inside of the container", async () => {
  writeFileSync(`${dir}/env`, "# of a file\nFROM_FILE=a=b\nOVER=file\n");
  const text = await printed(
    [
      ...["--env-file", `${dir}/env`, "-e", "OVER=option", "-e", "NOT_SET_ANYWHERE"],
      ...["--mount", `type=bind,source=${dir},target=/bound,readonly`],
      ...["--tmpfs", "/scratch:size=64k,mode=700", "--mount", "type=tmpfs,target=/other"],
      ...["--shm-size", "1m", "-v", "/anonymous"],
      ...["--dns", "192.0.2.1", "--dns-search", "a.test", "--dns-option", "ndots:7"],
      ...["--add-host", "db:192.0.2.7", "--hostname", "named"],
      ...["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--pids-limit", "77"],
      ...["--sysctl", "net.ipv4.ip_forward=1", "--group-add", "4242"],
      ...["--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"],
      ...["--cap-drop", "ALL", "--cap-add", "CHOWN", "--user", "0:0", "--workdir", "/tmp"],
      ...["--read-only", "--memory", "64m", "--cpus", "0.5", "--oom-score-adj", "500"],
      "--network=none",
    ],
    [
      "env | grep -E '^(FROM_FILE|OVER|NOT_SET)' | sort",
      "cat /bound/env | head -1; touch /bound/x 2>/dev/null || echo read-only",
      "df -k /scratch | awk 'NR==2 {print \"scratch\", $2}'; stat -c %a /scratch",
      "grep -E ' /(scratch|other) ' /proc/mounts | cut -d' ' -f2-4 | sort",
      "df -k /dev/shm | awk 'NR==2 {print \"shm\", $2}'",
      "touch /anonymous/x && echo writable; touch /x 2>/dev/null || echo root is read-only",
      "cat /etc/resolv.conf; grep 192.0.2.7 /etc/hosts; hostname",
      "ulimit -n; ulimit -Hn; ulimit -c",
      "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max",
      "cat /proc/sys/net/ipv4/ip_forward; id -G; pwd",
      "grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; cat /proc/self/oom_score_adj",
      "ls /sys/class/net; cat /sys/class/net/lo/operstate",
    ].join("; "),
  );
  expect(text.split("\n")).toEqual([
    ...["FROM_FILE=a=b", "OVER=option"],
    ...["# of a file", "read-only"],
    ...["scratch 64", "700"],
    expect.stringMatching(/^\/other tmpfs rw,nosuid,nodev,noexec,/),
    expect.stringMatching(/^\/scratch tmpfs rw,nosuid,nodev,noexec,/),
    "shm 1024",
    ...["writable", "root is read-only"],
    ...["nameserver 192.0.2.1", "search a.test", "options ndots:7"],
    ...["192.0.2.7\tdb", "named"],
    ...["100", "200", "0"],
    "77",
    ...["1", "0 4242", "/tmp"],
    ...["CapEff:\t0000000000000001", "NoNewPrivs:\t1", "Seccomp:\t0"],
    expect.stringMatching(/^(500|\d+)$/),
    ...["lo", "unknown"],
    "",
  ]);
});

test("--init reaps what nobody waits for; --stop-signal and --stop-timeout are what crib stop goes by", async () => {
  const script =
    "trap 'echo got INT; exit 3' INT; trap '' TERM; echo up; while :; do sleep 0.1; done";
  const cid = `${dir}/cid`;
  const names = ["--name", "patient", "--stop-signal", "INT", "--cidfile", cid];
  const id = await crib.ok("run", "-d", ...names, "--init", "--annotation", "a=b", ...sh(script));
  expect(readFileSync(cid, "utf8")).toBe(id.trim());
  expect(await crib.ok("exec", "patient", "cat", "/proc/1/comm")).toBe("pause\n");
  // What a shell leaves behind becomes the first process's.
  const orphan = "(sleep 0.01 & exec true) & wait; sleep 0.1";
  await crib.ok("exec", "patient", "sh", "-c", orphan);
  await eventually(async () =>
    expect(await crib.ok("exec", "patient", "ps", "-o", "stat,comm")).not.toMatch(/^Z/m),
  );
  const { status } = JSON.parse(await crib.ok("inspect", "--type", "container", "patient"));
  expect(status.annotations).toMatchObject({ a: "b" });
  await crib.ok("stop", "--container", "patient");
  expect(await crib.ok("logs", "patient")).toBe("up\ngot INT\n");
  const again = await crib.run(["run", "-d", "--cidfile", cid, ...sh("true")]);
  expect([again.code, again.stderr]).toEqual([
    125,
    `crib: --cidfile ${cid}: it is there already\n`,
  ]);
  await crib.ok("rm", "-f", "patient");

  const deaf = "trap '' TERM; while :; do sleep 0.1; done";
  await crib.ok("run", "-d", "--name", "deaf", "--stop-timeout", "0", ...sh(deaf));
  await crib.ok("stop", "--container", "deaf");
  const stopped = JSON.parse(await crib.ok("inspect", "--type", "container", "deaf"));
  expect(stopped.status.exitCode).toBe(137);
  await crib.ok("rm", "-f", "deaf");
});

test("--network container:NAME shares addresses, ports, name and files, also after a restart of the daemon", async () => {
  const limits = ["--ulimit", "nofile=300:300", "--tmpfs", "/scratch:size=64k"];
  const host = ["--add-host", "x:192.0.2.9"];
  await crib.ok("run", "-d", "--name", "first", ...host, ...limits, ...sh("sleep 1000"));
  const share = ["--network", "container:first"];
  const script = "hostname; ip -o addr | grep -c eth0; grep 192.0.2.9 /etc/hosts";
  const alone = await crib.ok("exec", "first", "sh", "-c", script);
  expect(alone).toMatch(/^first\n/);
  expect(await printed(share, script)).toBe(alone);
  await crib.ok("run", "-d", "--name", "second", ...share, ...sh("sleep 1000"));
  await daemon.end("SIGTERM");
  await daemon.start();
  expect(await crib.ok("exec", "second", "sh", "-c", script)).toBe(alone);
  // What CRI has no field for is on record too: the container is made anew with it.
  await crib.ok("restart", "--time", "0", "first");
  const anew = "ulimit -Hn; df -k /scratch | awk 'NR==2 {print $2}'";
  expect(await crib.ok("exec", "first", "sh", "-c", anew)).toBe("300\n64\n");
  const refused = await crib.run(["run", ...share, "-p", "80:80", ...sh("true")]);
  expect([refused.code, refused.stderr]).toEqual([125, expect.stringContaining("--publish excl")]);
  // The one that shares goes on without the other, and cannot come back without it.
  await crib.ok("rm", "-f", "first");
  expect(await crib.ok("exec", "second", "hostname")).toBe("first\n");
  await crib.ok("stop", "--time", "0", "second");
  expect(await crib.run(["start", "second"])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^crib: .*share the network.*is gone\n$/),
  });
  await crib.ok("rm", "-f", "second");
});

test("a named volume is filled from the image, outlives its pods, and is not removed while one has it", async () => {
  const volume = ["-v", "data:/etc"];
  expect(await printed(volume, "ls /etc/passwd; echo kept >/etc/kept")).toBe("/etc/passwd\n");
  expect(await printed(["-v", "data:/data:ro"], "cat /data/kept; touch /data/x 2>&1 || true")).toBe(
    "kept\ntouch: /data/x: Read-only file system\n",
  );
  expect(await printed(["-v", "empty:/etc/nocopy:nocopy"], "ls /etc/nocopy | wc -l")).toBe("0\n");
});

test("-h is the host name; an empty entrypoint leaves nothing of the image's", async () => {
  expect(await crib.ok("run", "--rm", "-h", "named", image, "hostname")).toBe("named\n");
  expect(await crib.ok("run", "--rm", "--entrypoint", "", image, "echo", "x")).toBe("x\n");
});

test("what cannot be done is one line with the option, the value and the form", async () => {
  for (const [options, message] of [
    [["--ulimit", "nofile"], "--ulimit nofile: not NAME=SOFT[:HARD]"],
    [["--network", "mine"], "--network mine: not default, host, none or container:NAME"],
    [["--network", "container:nobody"], 'no pod or container "nobody"'],
    [["--link", "db"], "option --link is not there; in its place: --network container:NAME"],
    [["--tmpfs", "/proc/x"], '"/proc/x" is no place for a file system'],
    [["-v", "/a:/x", "--tmpfs", "/x"], "two mounts at /x"],
    [["--sysctl", "kernel.hostname=x"], "kernel.hostname"],
    [["--security-opt", "frob"], "--security-opt frob: not no-new-privileges"],
    [["--platform", "linux/s390x"], "--platform linux/s390x: this node is linux/"],
    [["--memory", "1m"], "--memory 1m: less than 6m, the minimum"],
    [["--mount", "type=bind,source=/no/such,target=/x"], "/no/such is not there"],
  ] as const) {
    const { code, stderr } = await crib.run(["run", "--rm", ...options, image, "true"]);
    expect(stderr).toContain(message);
    expect(stderr).toStartWith("crib: ");
    expect(code).toBe(125);
  }
  expect(await crib.ok("pods", "-q")).toBe("");
  expect(existsSync("/no/such")).toBe(false);
});
