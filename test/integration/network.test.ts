import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Context } from "../../src/lib/context.ts";
import { describe as explain, kindOf } from "../../src/lib/errors.ts";
import { generateSandboxId } from "../../src/lib/id.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { Attachment } from "../../src/network/cni/attachment.ts";
import { CniNetwork } from "../../src/network/cni-network.ts";
import {
  type NamespaceRequest,
  pinNamespaces,
  unpinNamespaces,
} from "../../src/network/namespace/netns.ts";
import { linkCniPlugins } from "../harness/cni-plugins.ts";
import { eventually } from "../harness/eventually.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { ownProgram } from "../harness/own-program.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

const ctx: Context = { signal: AbortSignal.timeout(600_000), log: silentLog };
const maker = ownProgram("namespaces");

let temp: TempDir;
let dir: string;

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
// Outside, that one test stands for all of these.
const describeInside = hasOwnNetwork ? describe : () => {};

describeInside("network", () => {
  beforeAll(() => {
    temp = tempDir("/run");
    dir = temp.path;
    for (const name of ["plugins", "conf", "cache"]) mkdirSync(`${dir}/${name}`);
    linkCniPlugins(`${dir}/plugins`);
  });
  afterAll(() => temp[Symbol.dispose]());

  describe("pinNamespaces()", () => {
    test("makes namespaces that are set up, and leaves the node as it was", async () => {
      const before = nodeState();
      const pod = `${dir}/pod`;
      await pin({
        dir: pod,
        kinds: ["net", "ipc", "uts"],
        hostname: "web-0",
        sysctls: {
          "net.ipv4.ip_forward": "1",
          "kernel.shm_rmid_forced": "1",
          "fs.mqueue.msg_max": "100",
          "kernel.domainname": "example.org",
        },
      });
      const enter = ["--net", "--ipc", "--uts"].map((flag) => `${flag}=${pod}/${flag.slice(2)}`);
      const read = (key: string) => run("nsenter", ...enter, "cat", `/proc/sys/${key}`).trim();
      expect(read("kernel/hostname")).toBe("web-0");
      expect(read("net/ipv4/ip_forward")).toBe("1");
      expect(read("kernel/shm_rmid_forced")).toBe("1");
      expect(read("fs/mqueue/msg_max")).toBe("100");
      expect(read("kernel/domainname")).toBe("example.org");
      expect(read("net/ipv4/ip_unprivileged_port_start")).toBe("0");
      expect(read("net/ipv6/conf/default/accept_ra")).toBe("0");
      expect(run("nsenter", ...enter, "ip", "-br", "addr", "show", "lo")).toContain("127.0.0.1/8");
      await expect(pin({ dir: pod, kinds: ["net"], sysctls: {} })).rejects.toThrow(
        "pinned already",
      );
      expect(read("kernel/hostname")).toBe("web-0");

      await unpinNamespaces(ctx, pod);
      await unpinNamespaces(ctx, pod);
      expect(nodeState()).toEqual(before);
    });

    test("makes them belong to a new user namespace, whose root owns what they hold", async () => {
      const pod = `${dir}/mapped`;
      const range = { hostId: 300_000, length: 65_536 };
      await pin({
        dir: pod,
        kinds: ["net", "ipc", "uts"],
        hostname: "web-1",
        sysctls: { "net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "100" },
        userNamespace: { ids: { uids: range, gids: range } },
      });
      const enter = ["user", "net", "ipc", "uts"].map((kind) => `--${kind}=${pod}/${kind}`);
      const inside = (script: string) => run("nsenter", ...enter, "sh", "-c", script).trim();
      expect(inside("cat /proc/self/uid_map").split(/ +/)).toEqual(["0", "300000", "65536"]);
      expect(inside("cat /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward")).toBe(
        "web-1\n1",
      );
      expect(inside("stat -c %u /proc/sys/fs/mqueue/msg_max")).toBe("0");
      expect(inside("cat /proc/sys/fs/mqueue/msg_max")).toBe("100");
      await unpinNamespaces(ctx, pod);
    });

    test.each([
      ["net.ipv4.no_such", "1", "no such sysctl"],
      ["net.ipv4.ip_forward", "many", "EINVAL"],
      ["kernel.core_pattern", "|/x", "belongs to no namespace"],
    ])("refuses %s=%s and leaves nothing", async (key, value, message) => {
      const before = nodeState();
      const failure = pin({ dir: `${dir}/pod`, kinds: ["net"], sysctls: { [key]: value } });
      const err = await failure.catch((reason: unknown) => reason);
      expect(explain(err)).toContain(message);
      expect(kindOf(err)).toBe("invalid-argument");
      expect(nodeState()).toEqual(before);
    });

    test("shares a mount: what is pinned is seen and unpinned in every mount namespace", async () => {
      const shared = `${dir}/shared`;
      mkdirSync(shared);
      run("mount", "--bind", shared, shared);
      run("mount", "--make-shared", shared);
      await pin({ dir: `${shared}/pod`, kinds: ["uts"], sysctls: {} });
      expect(mounts().filter((line) => line.includes("/pod/uts"))).toHaveLength(1);
      await unpinNamespaces(ctx, `${shared}/pod`);
      expect(mounts().filter((line) => line.includes("/pod/uts"))).toEqual([]);
      run("umount", shared);
    });
  });

  describe("the embedded network", () => {
    const embedded = () =>
      new CniNetwork({
        confDirs: [`${dir}/conf`],
        pluginDirs: [],
        cacheDir: `${dir}/cache`,
        stateDir: `${dir}/state`,
        fallback: "embedded",
        embeddedPluginDir: `${dir}/plugins`,
        embeddedAddressDir: `${dir}/addresses`,
      });

    test("connects pods: from the node, through host ports on 127.0.0.1, and to each other", async () => {
      const network = embedded();
      expect(await network.status(ctx)).toEqual({ ready: true, reason: "", message: "" });
      await using first = await openPod("first", { hostPort: 12_000 });
      await using second = await openPod("second", { limited: true });
      const [a] = (await network.attach(ctx, first.attachment)).ips;
      const [b] = (await network.attach(ctx, second.attachment)).ips;
      const before = rules();
      using _server = first.serve("hello from first");

      await eventually(() =>
        expect(fetchText(`http://${a}:8080`)).resolves.toBe("hello from first"),
      );
      expect(await fetchText("http://127.0.0.1:12000")).toBe("hello from first");
      expect(second.fetch(`http://${a}:8080`)).toBe("hello from first");
      expect(first.run("ip", "-4", "-br", "addr", "show", "eth0")).toContain(`${a}/16`);
      expect(a).not.toBe(b);
      await network.check(ctx, first.attachment);
      expect(before).not.toEqual([]);

      await embedded().detach(ctx, first.attachment);
      await embedded().detach(ctx, second.attachment);
      await embedded().detach(ctx, second.attachment);
      expectNothingLeft();
    });

    test("lets pods out under the node's address, also where others forward nothing", async () => {
      await using outside = await openPod("outside", {});
      await using pod = await openPod("inside", {});
      run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1");
      run("ip", "link", "set", "out1", "netns", outside.attachment.netnsPath ?? "");
      run("ip", "addr", "add", "198.51.100.1/24", "dev", "out0");
      run("ip", "link", "set", "out0", "up");
      outside.run("ip", "addr", "add", "198.51.100.2/24", "dev", "out1");
      outside.run("ip", "link", "set", "out1", "up");
      run("iptables", "-P", "FORWARD", "DROP");
      using _server = outside.serve("hello from outside");

      await embedded().attach(ctx, pod.attachment);
      const url = "http://198.51.100.2:8080";
      await eventually(() => expect(fetchText(url)).resolves.toBe("hello from outside"));
      // There is no way back to 10.88.0.0/16 from out there: an answer means that the address was translated.
      expect(pod.fetch(url)).toBe("hello from outside");
      await embedded().detach(ctx, pod.attachment);
      run("iptables", "-P", "FORWARD", "ACCEPT");
      run("ip", "link", "del", "out0");
      expectNothingLeft();
    });

    test("gives addresses back after a reboot has taken the namespace", async () => {
      const pod = await openPod("rebooted", {});
      await embedded().attach(ctx, pod.attachment);
      expect(addresses()).toHaveLength(1);
      await pod[Symbol.asyncDispose]();
      await embedded().detach(ctx, { ...pod.attachment, netnsPath: undefined });
      expect(addresses()).toEqual([]);
    });

    test("gives back what an attachment took that did not come about", async () => {
      await using pod = await openPod("late", {});
      const none = { ...pod.attachment, netnsPath: `${dir}/plugins` };
      await expect(embedded().attach(ctx, none)).rejects.toThrow();
      expect(addresses()).toEqual([]);
      expect(recordFiles()).toEqual([]);
    });

    test("takes the range that the cluster gives the node", async () => {
      await using pod = await openPod("ranged", {});
      const network = embedded();
      network.setPodCidr("10.200.7.0/24,fd00:7::/64");
      const { ips } = await network.attach(ctx, pod.attachment);
      expect(ips.map((ip) => ip.replace(/[^.:]+$/, ""))).toEqual(["10.200.7.", "fd00:7::"]);
      await network.detach(ctx, pod.attachment);
      network.setPodCidr("");
      expectNothingLeft();
    });

    test("makes room as soon as the node has a network of its own", async () => {
      const plugin = { type: "bridge", bridge: "mine0", isGateway: true };
      const ipam = { type: "host-local", subnet: "10.77.0.0/24", dataDir: `${dir}/mine` };
      const plugins = [{ ...plugin, ipam }];
      const network = embedded();
      await using pod = await openPod("own", {});
      await using other = await openPod("other", {});
      expect((await network.attach(ctx, other.attachment)).network).toBe("crib");
      writeFileSync(
        `${dir}/conf/10-mine.conflist`,
        JSON.stringify({ cniVersion: "1.1.0", name: "mine", plugins }),
      );
      expect(await network.status(ctx)).toMatchObject({ ready: true });
      const { ips } = await network.attach(ctx, pod.attachment);
      expect(ips).toEqual(["10.77.0.2"]);
      await network.gc(ctx, [pod.attachment.sandboxId]);
      expect(recordFiles()).toEqual([`${pod.attachment.sandboxId}.json`]);
      await network.gc(ctx, []);
      expectNothingLeft();
    });
  });
});

function pin(request: NamespaceRequest): Promise<void> {
  return pinNamespaces(ctx, maker, request);
}

/** A network namespace with what a test does in it. */
async function openPod(name: string, options: { hostPort?: number; limited?: boolean }) {
  const pinned = `${dir}/${name}`;
  await pin({ dir: pinned, kinds: ["net"], sysctls: {} });
  const enter = ["nsenter", `--net=${pinned}/net`];
  const rate = {
    "kubernetes.io/egress-bandwidth": "100M",
    "kubernetes.io/ingress-bandwidth": "1G",
  };
  const { hostPort } = options;
  const attachment: Attachment = {
    sandboxId: generateSandboxId(),
    netnsPath: `${pinned}/net`,
    podName: name,
    podNamespace: "default",
    podUid: "uid",
    portMappings:
      hostPort === undefined
        ? []
        : [{ protocol: "tcp", containerPort: 8080, hostPort, hostIp: "" }],
    annotations: options.limited ? rate : {},
    dns: { servers: [], searches: [], options: [] },
    cgroupParent: "",
  };
  return {
    attachment,
    run: (...argv: string[]) => run(...enter, ...argv),
    serve(text: string): Disposable {
      const program = `Bun.serve({ hostname: "::", port: 8080, fetch: () => new Response(${JSON.stringify(text)}) })`;
      const server = Bun.spawn([...enter, process.execPath, "-e", program], {
        stdio: ["ignore", "ignore", "ignore"],
      });
      return { [Symbol.dispose]: () => server.kill() };
    },
    fetch(url: string): string {
      const program = `process.stdout.write(await (await fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(60000) })).text())`;
      return run(...enter, process.execPath, "-e", program);
    },
    [Symbol.asyncDispose]: () => unpinNamespaces(ctx, pinned),
  };
}

async function fetchText(url: string): Promise<string> {
  return (await fetch(url, { signal: AbortSignal.timeout(10_000) })).text();
}

function run(...argv: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout.toString();
}

function mounts(): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8").split("\n");
}

function nodeState() {
  const sysctls = [
    "kernel/hostname",
    "kernel/domainname",
    "kernel/shm_rmid_forced",
    "kernel/core_pattern",
  ];
  return {
    mounts: mounts().length,
    files: readdirSync(dir),
    values: [...sysctls, "net/ipv4/ip_forward"].map((key) =>
      readFileSync(`/proc/sys/${key}`, "utf8"),
    ),
  };
}

const addresses = () =>
  readdirSync(`${dir}/addresses/crib`).filter(
    (file) => /^[0-9a-f.:_]+$/.test(file) && file !== "lock",
  );
const recordFiles = () =>
  ["cache", "state"]
    .flatMap((name) => readdirSync(`${dir}/${name}`))
    .filter((file) => /^[0-9a-f]{64}/.test(file));
/** Rules that belong to one pod: the plugins' own chains stay. */
const rules = () =>
  [...run("iptables-save").split("\n"), ...run("ip6tables-save").split("\n")].filter(
    (line) =>
      line.includes("id: ") || line.includes("CNI-DN-") || /10\.88\.\d+\.\d+\/32/.test(line),
  );
const links = () =>
  run("ip", "-br", "link")
    .split("\n")
    .filter((line) => /^(veth|bwp)/.test(line));

function expectNothingLeft(): void {
  expect({
    addresses: addresses(),
    records: recordFiles(),
    rules: rules(),
    links: links(),
  }).toEqual({
    addresses: [],
    records: [],
    rules: [],
    links: [],
  });
}
