import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { readEnvFile } from "./env-file.ts";
import { parsePidsLimit, parseResources, parseUlimit } from "./limit-options.ts";
import { parseMount, parseTmpfs, parseVolume } from "./mount-options.ts";
import { parseAddHost, parseDns, parseNetwork, parseSysctls } from "./network-options.ts";
import { checkPlatform } from "./platform.ts";
import { parseSecurity, parseStopSignal } from "./security-options.ts";

/** What docker's reference for `docker run` says of each option, and what is made of it here. */

const { RuntimeDefault, Unconfined, Localhost } = pb.SecurityProfile_ProfileType;
const { PROPAGATION_PRIVATE: PRIVATE, PROPAGATION_HOST_TO_CONTAINER: SLAVE } = pb.MountPropagation;

test("--volume is a directory of the node, one below the working directory, a name, or anonymous", () => {
  const bind = { propagation: PRIVATE, readonly: false, selinuxRelabel: false };
  expect(parseVolume("/a/../b:/c:ro,z")).toEqual({
    kind: "bind",
    mount: { ...bind, hostPath: "/b", containerPath: "/c", readonly: true, selinuxRelabel: true },
  });
  expect(parseVolume("./src:/c:rslave")).toEqual({
    kind: "bind",
    mount: {
      ...bind,
      hostPath: join(process.cwd(), "src"),
      containerPath: "/c",
      propagation: SLAVE,
    },
  });
  expect(parseVolume("data:/var/lib")).toMatchObject({
    kind: "volume",
    name: "data",
    copies: true,
  });
  expect(parseVolume("data:/d:nocopy,ro")).toMatchObject({
    copies: false,
    mount: { readonly: true },
  });
  expect(parseVolume("/data")).toEqual({ kind: "anonymous", containerPath: "/data" });
  for (const text of [
    ...["", "data", "/", "/a:b", "a/b:/c", "/a:/b:rx", "/a:/b:ro:x", ":/a", "-x:/a", "a:/b"],
  ]) {
    expect(() => parseVolume(text)).toThrow("--volume");
  }
});

test("--mount says the same with names, and refuses a source that is not there", () => {
  expect(parseMount("type=bind,source=/etc,target=/x,readonly")).toMatchObject({
    kind: "bind",
    mount: { hostPath: "/etc", containerPath: "/x", readonly: true },
  });
  expect(parseMount("type=bind,src=/etc,dst=/x,ro=false,bind-propagation=rslave")).toMatchObject({
    mount: { readonly: false, propagation: SLAVE },
  });
  expect(parseMount("src=data,target=/x")).toMatchObject({ kind: "volume", name: "data" });
  expect(parseMount("type=volume,target=/x")).toEqual({ kind: "anonymous", containerPath: "/x" });
  expect(parseMount("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=1770")).toMatchObject({
    kind: "tmpfs",
    options: ["nosuid", "nodev", "noexec", "mode=1770", "size=1048576"],
  });
  expect(parseMount("type=image,source=local/app:1,target=/x,image-subpath=a/b")).toMatchObject({
    kind: "image",
    mount: { image: { image: "local/app:1" }, imageSubPath: "a/b", readonly: true },
  });
  expect(parseMount('type=volume,source=data,"target=/with,comma"')).toMatchObject({
    mount: { containerPath: "/with,comma" },
  });
  for (const [text, message] of [
    ["type=bind,source=/no/such/place,target=/x", "/no/such/place is not there"],
    ["type=bind,target=/x", "source=/PATH is missing"],
    ["type=bind,source=/etc", "target=/PATH is missing"],
    ["type=bind,source=/etc,target=/x,tmpfs-size=1m", "size is not of type bind"],
    ["type=tmpfs,target=/x,tmpfs-mode=9", "not octal"],
    ["type=frob,target=/x", "none of bind, volume, tmpfs, image"],
    ["typ=bind,target=/x", '"typ" is none of'],
    ["type=bind,source=/etc,target=/x,readonly=perhaps", "neither true nor false"],
  ] as const) {
    expect(() => parseMount(text)).toThrow(message);
  }
});

test("--tmpfs has docker's defaults, each of which its opposite takes away", () => {
  const options = (text: string) => {
    const mount = parseTmpfs(text);
    return mount.kind === "tmpfs" ? mount.options : [];
  };
  expect(options("/run")).toEqual(["nosuid", "nodev", "noexec", "mode=1777"]);
  expect(options("/run:exec,size=64k,mode=755,uid=5")).toEqual([
    ...["nosuid", "nodev", "exec", "size=65536", "mode=755", "uid=5"],
  ]);
  expect(options("/run:size=50%")).toContain("size=50%");
  for (const text of ["run", "/", "/run:frob", "/run:size=x"]) {
    expect(() => parseTmpfs(text)).toThrow("--tmpfs");
  }
});

test("--network", () => {
  expect([undefined, "default", "bridge"].map(parseNetwork)).toEqual(
    Array(3).fill({ kind: "pod" }),
  );
  expect(parseNetwork("container:web")).toEqual({ kind: "container", key: "web" });
  for (const text of ["", "mynet", "container:"]) {
    expect(() => parseNetwork(text)).toThrow("not default, host, none or container:NAME");
  }
});

test("--dns, --dns-search and --dns-option replace one part each of what the node has", () => {
  const node = () => "nameserver 10.0.0.1\nsearch a b\noptions ndots:2 rotate\n";
  const none = { dns: [], "dns-search": [], "dns-option": [] };
  expect(parseDns(none, node)).toBeUndefined();
  expect(parseDns({ ...none, dns: ["1.1.1.1", "::1"] }, node)).toEqual({
    servers: ["1.1.1.1", "::1"],
    searches: ["a", "b"],
    options: ["ndots:2", "rotate"],
  });
  expect(parseDns({ ...none, "dns-search": ["."] }, node)).toMatchObject({
    servers: ["10.0.0.1"],
    searches: [],
  });
  expect(() => parseDns({ ...none, dns: ["dns.local"] }, node)).toThrow("--dns dns.local");
});

test("--add-host and --sysctl", () => {
  expect(parseAddHost("db:10.0.0.2")).toEqual({ name: "db", ip: "10.0.0.2" });
  expect(parseAddHost("db=[fd00::2]")).toEqual({ name: "db", ip: "fd00::2" });
  expect(parseAddHost("db:fd00::2")).toEqual({ name: "db", ip: "fd00::2" });
  expect(() => parseAddHost("db:host-gateway")).toThrow("host-gateway is not known");
  for (const text of ["db", "db:x", ":1.1.1.1"])
    expect(() => parseAddHost(text)).toThrow("NAME:IP");
  expect(parseSysctls(["net.core.somaxconn=128", "a.b=1 2"])).toEqual({
    "net.core.somaxconn": "128",
    "a.b": "1 2",
  });
  expect(() => parseSysctls(["x"])).toThrow("--sysctl x: not NAME=VALUE");
});

test("--ulimit and --pids-limit", () => {
  expect(parseUlimit("nofile=1024:2048")).toEqual({ name: "nofile", soft: 1024n, hard: 2048n });
  expect(parseUlimit("core=0")).toEqual({ name: "core", soft: 0n, hard: 0n });
  expect(parseUlimit("memlock=-1:-1")).toEqual({ name: "memlock", soft: -1n, hard: -1n });
  for (const [text, message] of [
    ["nofile", "not NAME=SOFT[:HARD]"],
    ["frob=1", '"frob" is none of'],
    ["nofile=2:1", "the soft limit is above the hard one"],
    ["nofile=-1:5", "the soft limit is above the hard one"],
  ] as const) {
    expect(() => parseUlimit(text)).toThrow(message);
  }
  expect([undefined, "-1", "0", "64"].map(parsePidsLimit)).toEqual([0n, -1n, -1n, 64n]);
  expect(() => parsePidsLimit("many")).toThrow("--pids-limit many: not a whole number from -1");
});

test("limits of memory and CPUs", () => {
  const none = {
    ...{ memory: undefined, "memory-swap": undefined, cpus: undefined, "cpu-shares": undefined },
    ...{ "cpu-period": undefined, "cpu-quota": undefined, "cpuset-cpus": undefined },
    ...{ "cpuset-mems": undefined, "oom-score-adj": undefined },
  };
  expect(parseResources(none)).toEqual({});
  expect(
    parseResources({ ...none, memory: "64m", "memory-swap": "-1", "cpuset-cpus": "0-2,4" }),
  ).toEqual({ memoryLimitInBytes: 64n << 20n, memorySwapLimitInBytes: -1n, cpusetCpus: "0-2,4" });
  expect(parseResources({ ...none, cpus: "1.5", "cpu-shares": "512" })).toEqual({
    cpuQuota: 150_000n,
    cpuPeriod: 100_000n,
    cpuShares: 512n,
  });
  for (const [options, message] of [
    [{ "memory-swap": "1g" }, "--memory-swap needs --memory"],
    [{ memory: "1g", "memory-swap": "64m" }, "less than --memory"],
    [{ cpus: "1", "cpu-quota": "1000" }, "--cpus excludes"],
    [{ "cpuset-cpus": "x" }, "--cpuset-cpus x: not a list"],
    [{ "oom-score-adj": "2000" }, "--oom-score-adj 2000: not a whole number from -1000 to 1000"],
  ] as const) {
    expect(() => parseResources({ ...none, ...options })).toThrow(message);
  }
});

describe("--security-opt", () => {
  test("takes docker's names", () => {
    expect(parseSecurity([]).seccomp).toEqual({ profileType: RuntimeDefault });
    expect(
      parseSecurity(["no-new-privileges", "seccomp=unconfined", "apparmor=mine"]),
    ).toMatchObject({
      noNewPrivs: true,
      seccomp: { profileType: Unconfined },
      apparmor: { profileType: Localhost, localhostRef: "mine" },
    });
    expect(parseSecurity(["no-new-privileges:false"]).noNewPrivs).toBe(false);
    expect(parseSecurity(["seccomp=/etc/passwd"]).seccomp).toEqual({
      profileType: Localhost,
      localhostRef: "/etc/passwd",
    });
  });
  test.each(["frob", "seccomp", "seccomp=/no/such", "no-new-privileges=x", "apparmor="])(
    "refuses %s",
    (text) => expect(() => parseSecurity([text])).toThrow(`--security-opt ${text}: `),
  );
});

test("--stop-signal by name, without SIG, or by number", () => {
  const { SIGINT, SIGRTMINPLUS3, RUNTIME_DEFAULT } = pb.Signal;
  expect([undefined, "SIGINT", "int", "2", "SIGRTMIN+3"].map(parseStopSignal)).toEqual([
    ...[RUNTIME_DEFAULT, SIGINT, SIGINT, SIGINT, SIGRTMINPLUS3],
  ]);
  for (const text of ["", "SIGFROB", "99", "DEFAULT"]) {
    expect(() => parseStopSignal(text)).toThrow("--stop-signal");
  }
});

test("--env-file takes lines as they are: quotes, equal signs, comments, names without value", () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-env-file-"));
  try {
    const file = join(dir, "env");
    writeFileSync(file, '# comment\n\n  A=b=c \nQ="quoted"\nHERE\nNOT\nEMPTY=\r\n');
    const entries = readEnvFile(file, { HERE: "yes" });
    expect(entries.map(({ key, value }) => [key, Buffer.from(value ?? []).toString()])).toEqual([
      ["A", "b=c "],
      ["Q", '"quoted"'],
      ["HERE", "yes"],
      ["EMPTY", ""],
    ]);
    writeFileSync(file, "A=1\nA B=2\n");
    expect(() => readEnvFile(file, {})).toThrow(`--env-file ${file}: line 2: not NAME=VALUE`);
    expect(() => readEnvFile(dir, {})).toThrow(`--env-file ${dir}: cannot be read`);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("--platform of this node is accepted in each spelling, and no other is", () => {
  for (const text of [undefined, "linux/amd64", "amd64", "linux/x86_64"]) {
    expect(() => checkPlatform(text, "x64")).not.toThrow();
  }
  expect(() => checkPlatform("linux/arm64/v8", "arm64")).not.toThrow();
  for (const text of ["linux/arm64", "windows/amd64"]) {
    expect(() => checkPlatform(text, "x64")).toThrow("this node is linux/amd64");
  }
  expect(() => checkPlatform("/", "x64")).toThrow("not OS/ARCHITECTURE");
});
