import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync, sign } from "node:crypto";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { importDemoImage } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { makeImpostor, otherBuild } from "../harness/other-versions.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { ownNode } from "../harness/own-node.ts";
import { executable } from "../harness/payload.ts";
import { demoImage as image } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
const describeInside = hasOwnNetwork ? describe : () => {};

const installed = "/usr/local/bin/crib";
const mark = `${installed}.upgrading`;
const patienceMs = 300_000;

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...argv: readonly string[]): Promise<Outcome> {
  // A file, since a supervisor that is started keeps what it is given.
  using dir = tempDir();
  const child = Bun.spawn([...argv], {
    env: { PATH: process.env["PATH"] ?? "" },
    stdio: ["ignore", Bun.file(`${dir.path}/out`), Bun.file(`${dir.path}/err`)],
    timeout: patienceMs,
    killSignal: "SIGKILL",
  });
  const code = await child.exited;
  const [stdout, stderr] = [
    readFileSync(`${dir.path}/out`, "utf8"),
    readFileSync(`${dir.path}/err`, "utf8"),
  ];
  return { code, stdout, stderr };
}

async function ok(...argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...argv);
  if (code !== 0) throw new Error(`${argv.join(" ")}: exit code ${code}: ${stderr}`);
  return stdout;
}

/** The daemon that the supervisor has started. */
async function daemonPid(): Promise<number> {
  const supervisor = readFileSync("/run/crib-supervise.pid", "utf8").trim();
  const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, "utf8");
  return Number(children.trim().split(" ")[0]);
}

async function untilServing(): Promise<void> {
  await eventually(async () => {
    await ok(installed, "ps");
  });
}

describeInside("a node without systemd and OpenRC", () => {
  const node = ownNode();
  const { dir } = node;

  beforeAll(() => {
    node.enter();
    importDemoImage("/var/lib/crib");
  });

  afterAll(async () => {
    if (existsSync(installed)) await run(installed, "uninstall", "--purge", "--yes");
    node[Symbol.dispose]();
  });

  test("--dry-run shows every file and writes none", async () => {
    const plan = await ok(executable, "install", "--dry-run", "--init", "systemd");
    for (const part of ["KillMode=process", "Delegate=yes", "/etc/crictl.yaml", "br_netfilter"]) {
      expect(plan).toContain(part);
    }
    expect(existsSync(installed)).toBe(false);
    expect(existsSync("/etc/crib")).toBe(false);
  });

  test("an image of a node is prepared, and nothing is started", async () => {
    const root = `${dir.path}/image`;
    for (const init of ["systemd", "openrc", "none"]) {
      await ok(executable, "install", "--root", root, "--init", init);
    }
    for (const path of [
      "etc/systemd/system/multi-user.target.wants/crib.service",
      "etc/runlevels/default/crib",
    ]) {
      expect(existsSync(`${root}${readlinkSync(`${root}/${path}`)}`)).toBe(true);
    }
    for (const path of [
      "etc/systemd/system/crib.service",
      "etc/init.d/crib",
      "usr/local/lib/crib/supervise",
    ]) {
      expect(existsSync(`${root}/${path}`)).toBe(true);
    }
    expect(statSync(`${root}/usr/local/bin/crib`).mode & 0o777).toBe(0o755);
    rmSync(root, { recursive: true });
  });

  test("the scripts are sh", async () => {
    const root = `${dir.path}/image`;
    await ok(executable, "install", "--root", root, "--init", "none");
    for (const name of readdirSync(`${root}/usr/local/lib/crib`)) {
      await ok("sh", "-n", `${root}/usr/local/lib/crib/${name}`);
    }
    rmSync(root, { recursive: true });
  });

  test("it serves when install comes back, and a second time changes nothing", async () => {
    const first = await ok(executable, "install", "--init", "none", "--kubelet");
    expect(existsSync("/run/containerd/containerd.sock")).toBe(true);
    expect(first).toContain("crib serves on unix:///run/crib/crib.sock");
    const pid = await daemonPid();
    writeFileSync("/etc/crib/config.toml", "# mine\n");
    writeFileSync("/etc/sysctl.d/60-crib.conf", "net.ipv4.ip_forward = 1\n");
    const second = await ok(installed, "install");
    expect(second).toContain("containerRuntimeEndpoint: unix:///run/crib/crib.sock");
    expect(second).not.toMatch(/: (written|replaced)$/m);
    expect(second).toContain("/etc/crib/config.toml: kept");
    expect(second).toContain("60-crib.conf: kept: changed by somebody");
    expect(readFileSync("/etc/crib/config.toml", "utf8")).toBe("# mine\n");
    expect(await daemonPid()).toBe(pid);
  });

  test("an upgrade starts the daemon anew and no container; rollback takes it back", async () => {
    await ok(installed, "run", "-d", "--name", "stays", "--host-network", image, "sleep", "3600");
    const started = (): Promise<string> => ok(installed, "inspect", "stays");
    const pidOf = async () => /"pid": ?(\d+)/.exec(await started())?.[1];
    const [container, daemon] = [await pidOf(), await daemonPid()];
    expect(container).toBeDefined();
    otherBuild(`${dir.path}/other`);
    expect(await ok(installed, "upgrade", `${dir.path}/other`)).toContain("serves");
    expect(readFileSync(installed).equals(readFileSync(`${dir.path}/other`))).toBe(true);
    expect(existsSync(mark)).toBe(false);
    expect(await daemonPid()).not.toBe(daemon);
    expect(await pidOf()).toBe(container);
    await ok(installed, "rollback");
    expect(readFileSync(installed).equals(readFileSync(executable))).toBe(true);
    expect(await pidOf()).toBe(container);
  });

  test("what is no crib for this node is refused before anything is changed", async () => {
    const daemon = await daemonPid();
    const bad = `${dir.path}/bad`;
    for (const [content, message] of [
      ["no program", "no Linux executable"],
      [Buffer.concat([readFileSync("/bin/true")]), "/bad: "],
      [otherMachine(), "for "],
    ] as const) {
      writeFileSync(bad, content);
      chmodSync(bad, 0o755);
      const { code, stderr } = await run(installed, "upgrade", bad);
      expect(stderr).toContain(message);
      expect(code).toBe(1);
    }
    const wrong = `sha256:${"0".repeat(64)}`;
    const { stderr } = await run(installed, "upgrade", executable, "--digest", wrong);
    expect(stderr).toContain("is sha256:");
    expect(await daemonPid()).toBe(daemon);
    expect(existsSync(mark)).toBe(false);
  });

  test("a configuration that the other version does not accept is no downtime", async () => {
    const good = readFileSync("/etc/crib/config.toml", "utf8");
    const daemon = await daemonPid();
    otherBuild(`${dir.path}/other`);
    writeFileSync("/etc/crib/config.toml", "[nonsense\n");
    const { code, stderr } = await run(installed, "upgrade", `${dir.path}/other`);
    writeFileSync("/etc/crib/config.toml", good);
    expect(stderr).toContain("config check: ");
    expect(code).toBe(1);
    expect(await daemonPid()).toBe(daemon);
    expect(existsSync(mark)).toBe(false);
  });

  test("the version that is there already is no upgrade: what a rollback leads to stays", async () => {
    const before = readFileSync(`${installed}.previous`);
    const daemon = await daemonPid();
    expect(await ok(installed, "upgrade", installed)).toContain("serves already");
    expect(await daemonPid()).toBe(daemon);
    expect(readFileSync(`${installed}.previous`).equals(before)).toBe(true);
  });

  test("a signature has to be one of the file by the key", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const [key, signature] = [`${dir.path}/key.pem`, `${dir.path}/signature`];
    writeFileSync(key, publicKey.export({ type: "spki", format: "pem" }));
    const signed = sign("sha256", readFileSync(executable), privateKey);
    writeFileSync(signature, `${signed.toString("base64")}\n`);
    const options = ["--signature", signature, "--key", key];
    expect(await ok(installed, "upgrade", executable, ...options)).toContain("serves already");
    otherBuild(`${dir.path}/other`);
    const { code, stderr } = await run(installed, "upgrade", `${dir.path}/other`, ...options);
    expect(stderr).toContain("not one of");
    expect(code).toBe(1);
    const half = await run(installed, "upgrade", executable, "--key", key);
    expect(half).toMatchObject({ code: 2, stderr: expect.stringContaining("go together") });
  });

  test("a version that exits is taken back by the service, though the command was killed", async () => {
    const bad = makeImpostor(`${dir.path}/exits`, "return 1;");
    const child = Bun.spawn([installed, "upgrade", bad, "--timeout", "3600"], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    await eventually(() => {
      expect(readFileSync(installed).equals(readFileSync(bad))).toBe(true);
    });
    child.kill("SIGKILL");
    await child.exited;
    // Killed before it asked for a restart, it has left that to whoever is next.
    await ok("/usr/local/lib/crib/supervise", "restart");
    await eventually(() => {
      expect(existsSync(mark)).toBe(false);
      expect(readFileSync(installed).equals(readFileSync(executable))).toBe(true);
    }, patienceMs);
    await untilServing();
    expect(await ok(installed, "ps", "-o", "json")).toContain("stays");
  });

  test("a version that hangs is taken back by the command, also when another one is tried before", async () => {
    const bad = makeImpostor(`${dir.path}/hangs`, "signal(SIGTERM, SIG_IGN); for (;;) pause();");
    // What an upgrade that was killed leaves: the executable has not shown yet that it serves.
    otherBuild(`${dir.path}/other`);
    await ok("cp", `${dir.path}/other`, `${installed}.copy`);
    await ok("ln", "-f", installed, `${installed}.previous`);
    writeFileSync(mark, "0\n");
    await ok("mv", `${installed}.copy`, installed);
    const { code, stderr } = await run(installed, "upgrade", bad, "--timeout", "2");
    expect(stderr).toContain("did not serve within 2 s: the previous version is back");
    expect(code).toBe(1);
    expect(readFileSync(installed).equals(readFileSync(executable))).toBe(true);
    expect(existsSync(mark)).toBe(false);
    expect(await ok(installed, "ps", "-o", "json")).toContain("stays");
  });

  test("killed anywhere, an install is made good by the next one, and an upgrade leaves one of two versions", async () => {
    const root = `${dir.path}/image`;
    otherBuild(`${dir.path}/other`);
    const versions = [readFileSync(executable), readFileSync(`${dir.path}/other`)];
    const killAfter = async (ms: number, ...argv: readonly string[]) => {
      const child = Bun.spawn([...argv], { stdio: ["ignore", "ignore", "ignore"] });
      await Bun.sleep(ms);
      child.kill("SIGKILL");
      await child.exited;
    };
    for (const ms of [20, 60, 100, 150, 200, 300]) {
      await killAfter(ms, executable, "install", "--root", root, "--init", "systemd");
      const there = `${root}${installed}`;
      if (existsSync(there)) expect(readFileSync(there).equals(versions[0] as Buffer)).toBe(true);
    }
    await ok(executable, "install", "--root", root, "--init", "systemd");
    expect(await ok(executable, "install", "--root", root, "--init", "systemd")).not.toMatch(
      /: (written|replaced)$/m,
    );
    rmSync(root, { recursive: true });

    for (const ms of [50, 150, 250, 350, 450, 600, 800, 1200]) {
      const isOther = readFileSync(installed).equals(versions[1] as Buffer);
      const file = isOther ? executable : `${dir.path}/other`;
      await killAfter(ms, installed, "upgrade", file);
      const now = readFileSync(installed);
      expect(versions.some((version) => version.equals(now))).toBe(true);
    }
    await ok("/usr/local/lib/crib/supervise", "restart");
    await eventually(() => {
      expect(existsSync(mark)).toBe(false);
    });
    await untilServing();
    expect(await ok(installed, "ps", "-o", "json")).toContain("stays");
    await ok(installed, "upgrade", executable);
  });

  test("killall ends all pods and keeps images; uninstall leaves nothing of its own", async () => {
    await ok(installed, "killall", "--yes");
    expect(existsSync("/run/crib-supervise.pid")).toBe(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("/run/crib/");
    await ok(installed, "install");
    expect(await ok(installed, "images")).toContain("demo");
    expect(await ok(installed, "ps", "--all", "-o", "json")).not.toContain("stays");
    const said = await ok(installed, "uninstall", "--purge", "--yes");
    expect(said).toContain("are gone");
    const left = await ok(
      "find",
      "/etc",
      "/usr/local",
      "/run",
      "-name",
      "*crib*",
      "-newer",
      "/proc/1",
    );
    expect(
      left.split("\n").filter((path) => !/crib-(test|network)/.test(path) && path !== ""),
    ).toEqual([]);
  });
});

/** An executable of a processor that this node is none of. */
function otherMachine(): Buffer {
  const bytes = Buffer.from(readFileSync("/bin/true"));
  bytes.writeUInt16LE(bytes.readUInt16LE(18) === 62 ? 183 : 62, 18);
  return bytes;
}
