import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { Code } from "@connectrpc/connect";
import { Protocol } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { leftOvers } from "../harness/leaks.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { runPod, startScript } from "../harness/pod.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
const describeInside = hasOwnNetwork ? describe : () => {};

/** The output of a program that has to succeed. */
function run(...argv: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout.toString();
}

const netnsFiles = () => (existsSync("/var/run/netns") ? readdirSync("/var/run/netns") : []);

describeInside("a pod's network", () => {
  let daemon: Daemon;
  let logs: TempDir;

  beforeAll(async () => {
    // What other daemons of the machine have there is none of ours.
    for (const dir of ["/run/crib-network", "/run/netns"]) {
      mkdirSync(dir, { recursive: true });
      run("mount", "-t", "tmpfs", "tmpfs", dir);
    }
    logs = tempDir();
    daemon = await Daemon.start({ demoImage: true });
  });

  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    logs[Symbol.dispose]();
  });

  const remove = async (podSandboxId: string) => {
    await daemon.cri.runtime.stopPodSandbox({ podSandboxId });
    await daemon.cri.runtime.removePodSandbox({ podSandboxId });
  };
  const pods = async () => (await daemon.cri.runtime.listPodSandbox({})).items.map(({ id }) => id);

  const ingress = "kubernetes.io/ingress-bandwidth";
  const mapping = { protocol: Protocol.TCP, containerPort: 80, hostPort: 8080, hostIp: "" };

  describe("is refused before anything is made", () => {
    test.each<[string, Parameters<typeof runPod>[2]]>([
      ...["garbage", "1", "0", "", "-5M", "100P", "1e99"].map(
        (text): [string, Parameters<typeof runPod>[2]] => [
          `a limit of ${JSON.stringify(text)}`,
          { annotations: { [ingress]: text } },
        ],
      ),
      ["a limit for egress", { annotations: { "kubernetes.io/egress-bandwidth": "fast" } }],
      ["a host address that is none", { portMappings: [{ ...mapping, hostIp: "nowhere" }] }],
      ["a port over 65535", { portMappings: [{ ...mapping, hostPort: 70_000 }] }],
      ["a protocol that is none", { portMappings: [{ ...mapping, protocol: 9 as Protocol }] }],
      [
        "a sysctl of an interface that is not there",
        { linux: { sysctls: { "net.ipv4.conf.eth7.rp_filter": "2" } } },
      ],
    ])("%s", async (_, config) => {
      const before = await pods();
      const { code } = await failure(runPod(daemon.cri, logs.path, config));
      expect(code).toBe(Code.InvalidArgument);
      expect(await pods()).toEqual(before);
      expect(netnsFiles()).toEqual([]);
    });
  });

  test("is below /var/run/netns, in every mount namespace that follows the node's", async () => {
    const follower = Bun.spawn(
      ["unshare", "--mount", "--propagation", "slave", "sleep", "infinity"],
      { stdio: ["ignore", "ignore", "ignore"] },
    );
    await eventually(() => {
      const [ours, theirs] = ["self", follower.pid].map((pid) =>
        readFileSync(`/proc/${pid}/mountinfo`, "utf8"),
      );
      expect(theirs).not.toBe(ours);
    });
    const seen = (file: string) =>
      Bun.spawnSync([
        ...["nsenter", `--mount=/proc/${follower.pid}/ns/mnt`],
        ...["nsenter", `--net=/var/run/netns/${file}`, "ip", "-4", "-o", "addr", "show", "eth0"],
      ]).stdout.toString();
    const pod = await runPod(daemon.cri, logs.path);
    const [name = "", ...others] = netnsFiles();
    expect(others).toEqual([]);
    expect(name).toEndWith(pod.id);
    const { status } = await daemon.cri.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(seen(name)).toContain(` ${status?.network?.ip}/`);
    expect(run("ip", "netns", "exec", name, "cat", "/sys/class/net/eth0/operstate")).toBe("up\n");

    await daemon.end("SIGKILL");
    await daemon.start();
    expect(seen(name)).toContain(` ${status?.network?.ip}/`);
    const container = await startScript(daemon.cri, pod, "sleep 1000");
    const { stdout } = await daemon.cri.runtime.execSync({
      containerId: container,
      cmd: ["ip", "addr", "show", "eth0"],
    });
    expect(Buffer.from(stdout).toString()).toContain(` ${status?.network?.ip}/`);
    await remove(pod.id);
    expect(netnsFiles()).toEqual([]);
    await eventually(() => expect(leftOvers(daemon, [pod.id])).toEqual([]));
    follower.kill();
  });

  test("that an earlier crib has pinned in the state directory is found there and removed", async () => {
    const pod = await runPod(daemon.cri, logs.path);
    await daemon.end("SIGKILL");
    const [name = ""] = netnsFiles();
    const [now, earlier] = [`/run/netns/${name}`, `${daemon.state}/sandboxes/${pod.id}/ns/net`];
    writeFileSync(earlier, "");
    run("mount", "--bind", now, earlier);
    run("umount", now);
    rmSync(now);
    const record = `${daemon.state}/network/${pod.id}.json`;
    writeFileSync(
      record,
      readFileSync(record, "utf8").replaceAll(`/var/run/netns/${name}`, earlier),
    );
    await daemon.start();
    const container = await startScript(daemon.cri, pod, "sleep 1000");
    const { stdout } = await daemon.cri.runtime.execSync({
      containerId: container,
      cmd: ["cat", "/sys/class/net/eth0/operstate"],
    });
    expect(Buffer.from(stdout).toString()).toBe("up\n");
    await remove(pod.id);
    await eventually(() => expect(leftOvers(daemon, [pod.id])).toEqual([]));
  });

  test("that nothing is recorded of goes at the next start, and no other daemon's", async () => {
    const pod = await runPod(daemon.cri, logs.path);
    const [name = ""] = netnsFiles();
    await remove(pod.id);
    await daemon.end("SIGKILL");
    const other = name.replace(/^crib-[0-9a-f]{8}/, "crib-00000000");
    for (const file of [name, other, "mine"]) run("ip", "netns", "add", file);
    await daemon.start();
    expect(netnsFiles().sort()).toEqual([other, "mine"].sort());
    for (const file of [other, "mine"]) run("ip", "netns", "del", file);
  });

  test("has the sysctls of its interface, set after ADD", async () => {
    const sysctls = {
      "net.ipv4.conf.eth0.rp_filter": "2",
      "net.ipv4.conf.eth0/arp_ignore": "0",
      "net/ipv6/conf/eth0/disable_ipv6": "1",
      "net.ipv6.conf.eth0.hop_limit": "77",
      "net.ipv4.neigh.eth0.gc_stale_time": "123",
      "net.ipv4.conf.lo.rp_filter": "1",
      "net.ipv4.conf.default.arp_announce": "2",
    };
    const { "net.ipv4.conf.eth0/arp_ignore": _, ...good } = sysctls;
    const pod = await runPod(daemon.cri, logs.path, { linux: { sysctls: good } });
    const [name = ""] = netnsFiles();
    const read = (path: string) =>
      run("ip", "netns", "exec", name, "cat", `/proc/sys/${path}`).trim();
    for (const [key, value] of Object.entries(good)) {
      expect(read(key.replaceAll(".", "/"))).toBe(value);
    }
    expect(read("net/ipv4/conf/eth0/arp_announce")).toBe("2");
    await remove(pod.id);
  });

  test.each([{}, { cniVersion: "" }, { cniVersion: "0.2.0" }])(
    "is made by a configuration that says %j, which is older than 0.3.0",
    async (version) => {
      const ipam = { type: "host-local", subnet: "10.79.0.0/24", dataDir: `${daemon.root}/old` };
      const plugin = { type: "bridge", bridge: "old0", isGateway: true, ipam };
      const file = `${daemon.root}/net.d/10-old.conf`;
      mkdirSync(`${daemon.root}/net.d`, { recursive: true });
      writeFileSync(file, JSON.stringify({ ...version, name: "old", ...plugin }));
      const pod = await eventually(async () => {
        const made = await runPod(daemon.cri, logs.path);
        const { status } = await daemon.cri.runtime.podSandboxStatus({ podSandboxId: made.id });
        const ip = status?.network?.ip ?? "";
        if (ip.startsWith("10.79.0.")) return { ...made, ip };
        await remove(made.id);
        throw new Error(`the pod has ${ip}`);
      });
      expect(run("ip", "address", "show", "old0")).toContain("10.79.0.1/24");
      rmSync(file);
      await remove(pod.id);
      await eventually(() => expect(readdirSync(`${daemon.root}/old/old`)).not.toContain(pod.ip));
    },
  );

  test("can be removed whatever has become of its record", async () => {
    const annotations = { [ingress]: "10M" };
    const pod = await runPod(daemon.cri, logs.path, { annotations, portMappings: [mapping] });
    writeFileSync(`${daemon.state}/network/${pod.id}.json`, "{");
    await remove(pod.id);
    await eventually(() => expect(leftOvers(daemon, [pod.id])).toEqual([]));
  });

  describe("of a plugin that takes its time", () => {
    let slow: Daemon;
    let plugins: string;

    beforeAll(async () => {
      plugins = `${logs.path}/plugins`;
      mkdirSync(plugins);
      const config = `plugin_dirs = [${JSON.stringify(plugins)}]\n[limits]\nshutdown_seconds = 1\n`;
      slow = await Daemon.start({ network: "none", config });
      mkdirSync(`${slow.root}/net.d`);
      const network = { cniVersion: "1.0.0", name: "slow", plugins: [{ type: "slow" }] };
      writeFileSync(`${slow.root}/net.d/10-slow.conflist`, JSON.stringify(network));
    });

    afterAll(() => slow[Symbol.asyncDispose]());

    /** ADD goes on only when it may, and then leaves a file, which DEL removes. */
    function install(add: string): void {
      const result = JSON.stringify({ cniVersion: "1.0.0", ips: [{ address: "10.9.8.7/24" }] });
      writeFileSync(
        `${plugins}/slow`,
        `#!/bin/sh
dir=${plugins}
echo "$CNI_COMMAND" >> $dir/calls
case $CNI_COMMAND in
ADD) touch $dir/begun; ${add}; touch $dir/made; echo '${result}';;
DEL) rm -f $dir/made;;
esac
`,
      );
      chmodSync(`${plugins}/slow`, 0o755);
      for (const name of ["begun", "made", "calls", "go"]) {
        rmSync(`${plugins}/${name}`, { force: true });
      }
    }

    // The grandchild ignores signals that can be ignored, and is in a session of its own.
    const stubborn = `setsid sh -c 'trap "" TERM HUP; until [ -e ${"$"}0/go ]; do sleep 0.05; done' $dir`;

    test.each(["SIGKILL", "SIGTERM"] as const)(
      "%s of the daemon in the middle of ADD leaves nothing of it",
      async (signal) => {
        install(stubborn);
        const failing = failure(runPod(slow.cri, logs.path));
        await eventually(() => expect(existsSync(`${plugins}/begun`)).toBe(true));
        const [name = ""] = netnsFiles();
        const id = name.slice(-64);
        await slow.end(signal);
        await failing;
        await slow.start();
        // If it still ran it would make something now, which no DEL would follow.
        writeFileSync(`${plugins}/go`, "");
        await eventually(() => {
          expect(existsSync(`${plugins}/made`)).toBe(false);
          expect(leftOvers(slow, [id])).toEqual([]);
        });
        const working = run(
          "sh",
          "-c",
          `grep -lsa CNI_CONTAINERID=${id} /proc/[0-9]*/environ || true`,
        );
        expect(working).toBe("");
        expect(readFileSync(`${plugins}/calls`, "utf8")).toStartWith("ADD\nDEL\n");
        expect((await slow.cri.runtime.listPodSandbox({})).items).toEqual([]);
      },
    );

    test("ADD may take longer than a minute", async () => {
      install("sleep 61");
      const pod = await runPod(slow.cri, logs.path);
      await slow.cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
      await slow.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
    });
  });

  test("of another boot has given its address back, where /run is on a disk", async () => {
    const pod = await runPod(daemon.cri, logs.path);
    const addresses = () =>
      readdirSync("/run/crib-network/crib").filter((file) => /^\d/.test(file));
    expect(addresses()).toHaveLength(1);
    // A reboot: no process, no mount, an empty tmpfs; and the address file is still there.
    await daemon.end("SIGKILL");
    daemon.signalMonitors("SIGKILL");
    const [name = ""] = netnsFiles();
    run("umount", `/run/netns/${name}`);
    run("sh", "-c", `grep -o '${daemon.state}/[^ ]*' /proc/self/mountinfo | xargs -r umount`);
    run("sh", "-c", `rm -rf ${daemon.state}/*`);
    const bootId = "/proc/sys/kernel/random/boot_id";
    writeFileSync(`${logs.path}/boot-id`, `${crypto.randomUUID()}\n`);
    run("mount", "--bind", `${logs.path}/boot-id`, bootId);
    try {
      await daemon.start();
      expect(addresses()).toEqual([]);
      await remove(pod.id);
      expect(netnsFiles()).toEqual([]);
    } finally {
      run("umount", bootId);
    }
  });
});
