import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { Context } from "../../src/lib/context.ts";
import { generateSandboxId, type SandboxId } from "../../src/lib/id.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { Attachment } from "../../src/network/cni/attachment.ts";
import { CniNetwork } from "../../src/network/cni-network.ts";
import { pinNamespaces, unpinNamespaces } from "../../src/network/namespace/netns.ts";
import { linkCniPlugins } from "../harness/cni-plugins.ts";
import { eventually } from "../harness/eventually.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { ownProgram } from "../harness/own-program.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

const ctx: Context = { signal: AbortSignal.timeout(600_000), log: silentLog };

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
const describeInside = hasOwnNetwork ? describe : () => {};

let temp: TempDir;
let dir: string;

/** By the plugins alone; or in process, where the log says when a plugin had to be started after all. */
type By = "plugins" | "process";

function network(by: By, embedded = false): CniNetwork {
  const plugins = `${dir}/plugins`;
  return new CniNetwork({
    confDirs: [embedded ? `${dir}/none` : `${dir}/conf`],
    pluginDirs: by === "plugins" && !embedded ? [plugins] : [],
    cacheDir: `${dir}/cache`,
    stateDir: `${dir}/state`,
    fallback: embedded ? "embedded" : "none",
    embeddedPluginDir: plugins,
    embeddedAddressDir: `${dir}/addresses`,
    ...(by === "process" ? { links: ownProgram("links") } : {}),
  });
}

const v4 = { subnet: "10.77.0.0/24" };
const v6 = { subnet: "fd77::/64" };
const routes = [{ dst: "0.0.0.0/0" }];

interface Shape {
  readonly name: string;
  readonly cniVersion?: string;
  readonly bridge?: object;
  readonly ipam: object;
  readonly chain?: readonly object[];
  readonly hostPorts?: Attachment["portMappings"];
  /** Commands that are carried out before: what is there already. */
  readonly before?: readonly string[];
  /** The plugin itself cannot remove its rules: it removes the chain while a second address still leads there. */
  readonly keepsRules?: boolean;
}

const portmap = { type: "portmap", capabilities: { portMappings: true }, snat: true };
const mapping = (protocol: string, hostPort: number, hostIp = "") => ({
  protocol,
  containerPort: 80,
  hostPort,
  hostIp,
});

const shapes: readonly Shape[] = [
  {
    name: "bridge, ipMasq, host-local and portmap, as it is usual",
    bridge: { isGateway: true, ipMasq: true, hairpinMode: true },
    ipam: { ranges: [[v4]], routes },
    chain: [portmap],
  },
  {
    name: "an address of each family, version 1.1.0",
    cniVersion: "1.1.0",
    bridge: { isDefaultGateway: true, ipMasq: true },
    ipam: { ranges: [[v4], [v6]] },
    chain: [portmap, { type: "bandwidth", capabilities: { bandwidth: true } }],
  },
  {
    name: "IPv6 alone, version 0.4.0",
    cniVersion: "0.4.0",
    bridge: { isGateway: true, ipMasq: true },
    ipam: { ranges: [[v6]], routes: [{ dst: "::/0" }] },
  },
  {
    name: "the old form of a range, version 0.3.1",
    cniVersion: "0.3.1",
    bridge: { isGateway: true, mtu: 1400, forceAddress: true },
    ipam: {
      ...v4,
      rangeStart: "10.77.0.40",
      rangeEnd: "10.77.0.50",
      gateway: "10.77.0.254",
      routes,
    },
  },
  { name: "no gateway and no route", ipam: { ranges: [[v4]] } },
  {
    name: "several ranges in a set and several sets",
    bridge: { isGateway: false },
    ipam: {
      ranges: [
        [
          { ...v4, rangeStart: "10.77.0.1", rangeEnd: "10.77.0.2" },
          { subnet: "10.78.0.0/29", gateway: "10.78.0.6" },
        ],
        [{ subnet: "10.79.0.0/16" }],
        [v6],
      ],
      routes: [
        { dst: "192.0.2.0/24", gw: "10.77.0.1" },
        { dst: "198.51.100.0/24" },
        { dst: "2001:db8::/32", gw: "fd77::1" },
      ],
    },
  },
  {
    name: "two ranges of one family behind ipMasq",
    bridge: { ipMasq: true, ipMasqBackend: "iptables", bridge: "br-x" },
    ipam: { ranges: [[v4], [{ subnet: "10.78.0.0/24" }]], routes },
    keepsRules: true,
  },
  {
    name: "a bridge that has its address already",
    bridge: { isGateway: true },
    ipam: { ranges: [[v4]] },
    before: ["ip link add br77 type bridge", "ip addr add 10.77.0.1/24 dev br77"],
  },
  {
    name: "a bridge that has lost its MAC address with its last port",
    bridge: { isGateway: true },
    ipam: { ranges: [[v4]] },
    before: [
      "ip link add br77 type bridge",
      "ip link add port77 type veth peer name peer77",
      "ip link set port77 master br77",
      "ip link del port77",
    ],
  },
  {
    name: "host ports",
    bridge: { isGateway: true, ipMasq: true, hairpinMode: true },
    ipam: { ranges: [[v4], [v6]], routes: [...routes, { dst: "::/0" }] },
    chain: [portmap],
    hostPorts: [
      mapping("tcp", 8080),
      mapping("udp", 8080),
      mapping("sctp", 8081),
      mapping("tcp", 8082, "127.0.0.1"),
    ],
  },
];

function configure({ cniVersion = "1.0.0", bridge = {}, ipam, chain = [] }: Shape): void {
  const hostLocal = { type: "host-local", dataDir: `${dir}/ipam`, ...ipam };
  const first = { type: "bridge", bridge: "br77", ...bridge, ipam: hostLocal };
  const conflist = { cniVersion, name: "shape", plugins: [first, ...chain] };
  writeFileSync(`${dir}/conf/10-shape.conflist`, JSON.stringify(conflist));
}

interface ShownLink {
  readonly ifname: string;
  readonly operstate: string;
  readonly addr_info: readonly {
    readonly scope: string;
    readonly family: string;
    readonly tentative?: true;
  }[];
}

/** The kernel sees to the state of a bridge, and to link-local addresses, in its own time. */
async function settled(): Promise<void> {
  await eventually(() => {
    const links = (JSON.parse(run("ip", "-j", "addr")) as readonly ShownLink[]).filter(
      ({ ifname }) => ifname !== "lo",
    );
    expect(links.length).toBeGreaterThan(1);
    for (const { operstate, addr_info } of links) {
      expect(operstate).toBe("UP");
      expect(addr_info.some(({ family, scope }) => family === "inet6" && scope === "link")).toBe(
        true,
      );
      expect(addr_info.some(({ tentative }) => tentative)).toBe(false);
    }
  }, 15_000);
}

/** As if the node had just been started. */
function clean(): void {
  for (const link of ["br77", "br-x", "crib0"]) {
    Bun.spawnSync(["ip", "link", "del", link], { stdio: ["ignore", "ignore", "ignore"] });
  }
  for (const iptables of ["iptables", "ip6tables"]) {
    for (const table of ["nat", "filter"]) {
      run(iptables, "-t", table, "-F");
      run(iptables, "-t", table, "-X");
    }
  }
  rmSync(`${dir}/ipam`, { recursive: true, force: true });
  rmSync(`${dir}/addresses`, { recursive: true, force: true });
  rmSync(`${dir}/calls`, { force: true });
  for (const key of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]) {
    writeFileSync(`/proc/sys/net/${key}`, "0");
  }
}

async function openPod(sandboxId: SandboxId, hostPorts: Attachment["portMappings"] = []) {
  const pinned = `${dir}/pods/${sandboxId}`;
  const request = { dir: pinned, kinds: ["net"] as const, sysctls: {} };
  await pinNamespaces(ctx, ownProgram("namespaces"), request);
  const attachment: Attachment = {
    sandboxId,
    netnsPath: `${pinned}/net`,
    podName: "pod",
    podNamespace: "default",
    podUid: "uid",
    portMappings: hostPorts,
    annotations: {},
    dns: { servers: [], searches: [], options: [] },
    cgroupParent: "",
  };
  return {
    attachment,
    [Symbol.asyncDispose]: () => unpinNamespaces(ctx, pinned),
  };
}

/** Everything that networks consist of in a namespace, with the names that chance gives replaced. */
function seen(...enter: readonly string[]) {
  const sysctls =
    "cd /proc/sys/net && grep -rs . ipv4/conf ipv6/conf ipv4/ip_forward | grep -v stable_secret | sort";
  return {
    addresses: read(run(...enter, "ip", "-j", "-d", "addr")),
    routes: ["-4", "-6"].map((family) =>
      read(run(...enter, "ip", "-j", family, "route", "show", "table", "all")),
    ),
    neighbours: read(run(...enter, "ip", "-j", "neigh", "show", "nud", "permanent")),
    rules: read(run(...enter, "ip", "-j", "rule")),
    sysctls: plain(run(...enter, "sh", "-c", sysctls)),
  };
}

function factsOfNode() {
  const addresses = `${dir}/ipam/shape`;
  return {
    node: seen(),
    ports: read(run("bridge", "-j", "-d", "link")),
    // 3: set, and not the lowest one of the ports.
    assigned: run("sh", "-c", "cat /sys/class/net/br*/addr_assign_type 2>/dev/null || true"),
    netfilter: ["iptables-save", "ip6tables-save"].map((save) =>
      plain(
        run(save)
          .replaceAll(/^#.*$/gm, "")
          .replaceAll(/\[\d+:\d+\]/g, ""),
      ),
    ),
    files: !existsSync(addresses)
      ? []
      : readdirSync(addresses)
          .sort()
          .map((name) => [name, readFileSync(`${addresses}/${name}`, "latin1")]),
  };
}

function facts(sandboxId: SandboxId) {
  return { ...factsOfNode(), pod: seen("nsenter", `--net=${dir}/pods/${sandboxId}/net`) };
}

const chance =
  /^(ifindex|link_index|link_netnsid|.*_timer|root_id|bridge_id|designated_.*|index|link)$/;

/** Lines of `ip -j` without numbers of interfaces, timers and digests of MAC addresses. */
function read(json: string): unknown {
  const value: readonly unknown[] = json.trim() === "" ? [] : JSON.parse(json);
  const without = (key: string, one: unknown) => (chance.test(key) ? undefined : one);
  // In no order: that of interfaces which are named by chance.
  return value
    .map((one) => plain(JSON.stringify(one, without)))
    .sort()
    .map((one) => JSON.parse(one) as unknown);
}

function plain(text: string): string {
  return text
    .replaceAll(/veth[0-9a-f]{8}/g, "VETH")
    .replaceAll(/(?:[0-9a-f]{2}:){5}[0-9a-f]{2}/g, (mac) =>
      /^(00:){5}00$|^(ff:){5}ff$/.test(mac) ? mac : "MAC",
    )
    .replaceAll(/fe80::[0-9a-f:]+/g, "LINKLOCAL");
}

function result(sandboxId: SandboxId) {
  for (const place of ["cache", "state"]) {
    const path = `${dir}/${place}/${sandboxId}.json`;
    if (existsSync(path)) {
      const record = JSON.parse(plain(readFileSync(path, "utf8")));
      return record.result;
    }
  }
  return undefined;
}

describeInside("a network made in process", () => {
  beforeAll(() => {
    temp = tempDir("/run");
    dir = temp.path;
    for (const name of ["plugins", "conf", "cache", "real", "pods"]) mkdirSync(`${dir}/${name}`);
    linkCniPlugins(`${dir}/real`);
    for (const which of ["all", "default"]) {
      writeFileSync(`/proc/sys/net/ipv6/conf/${which}/accept_dad`, "0");
    }
    // The plugins, which write down that they are called.
    for (const name of readdirSync(`${dir}/real`)) {
      const script = `#!/bin/sh\necho "$CNI_COMMAND ${name}" >> ${dir}/calls\nCNI_PATH=${dir}/real exec ${dir}/real/${name}\n`;
      writeFileSync(`${dir}/plugins/${name}`, script);
      chmodSync(`${dir}/plugins/${name}`, 0o755);
    }
  });
  afterAll(() => temp[Symbol.dispose]());

  const calls = () => (existsSync(`${dir}/calls`) ? readFileSync(`${dir}/calls`, "utf8") : "");
  const gone = (sandboxId: SandboxId) => {
    const { node, netfilter, files } = factsOfNode();
    const text = JSON.stringify([node.addresses, netfilter, files]);
    expect({
      veths: text.match(/VETH/g),
      rules: text.includes(sandboxId) || /CNI-[0-9a-f]{24}|CNI-DN/.test(text),
      records: result(sandboxId),
    }).toEqual({ veths: null, rules: false, records: undefined });
  };

  describe.each(shapes)("$name", (shape) => {
    const id = generateSandboxId();
    const isMapped = shape.hostPorts !== undefined;

    async function made(by: By) {
      clean();
      configure(shape);
      for (const command of shape.before ?? []) run(...command.split(" "));
      await using pod = await openPod(id, shape.hostPorts);
      const outcome = await network(by).attach(ctx, pod.attachment);
      await settled();
      const all = { outcome, result: result(id), facts: facts(id) };
      if (by === "process") {
        expect(calls()).toBe(isMapped ? "ADD portmap\n" : "");
      }
      await network("plugins").check(ctx, pod.attachment);
      return { ...all, pod: pod.attachment };
    }

    async function remove(by: By, attachment: Attachment): Promise<void> {
      rmSync(`${dir}/calls`, { force: true });
      await network(by).detach(ctx, attachment);
      await eventually(() => gone(id));
      if (by === "process") expect(calls()).toBe(isMapped ? "DEL portmap\n" : "");
    }

    test("is in every fact what the plugins make", async () => {
      clean();
      const byPlugins = await made("plugins");
      await network("plugins").detach(ctx, byPlugins.pod);
      const byProcess = await made("process");
      await network("plugins").detach(ctx, byProcess.pod);
      expect(byProcess).toEqual(byPlugins);
      expect(byPlugins.facts.files.length).toBeGreaterThan(1);
    });

    test.each([
      ["plugins", "plugins"],
      ["plugins", "process"],
      ["process", "plugins"],
      ["process", "process"],
    ] as const)("made by %s is removed by %s", async (maker, remover) => {
      clean();
      configure(shape);
      await using pod = await openPod(id, shape.hostPorts);
      await network(maker).attach(ctx, pod.attachment);
      const removal = remove(remover, pod.attachment);
      if (shape.keepsRules && remover === "plugins") {
        await expect(removal.catch(String)).resolves.toContain("Device or resource busy");
        await remove("process", pod.attachment);
      }
      await removal.catch((err) => expect(shape.keepsRules ? "" : err).toBe(""));
    });
  });

  test("is what the plugins make of the embedded network", async () => {
    const id = generateSandboxId();
    const both = [];
    for (const by of ["plugins", "process"] as const) {
      clean();
      await using pod = await openPod(id);
      const made = network(by, true);
      made.setPodCidr("10.99.0.0/24,fd99::/64");
      const outcome = await made.attach(ctx, pod.attachment);
      await settled();
      both.push({ outcome, result: result(id), facts: facts(id) });
      await made.check(ctx, pod.attachment);
      await made.detach(ctx, pod.attachment);
      await eventually(() => gone(id));
      if (by === "process") expect(calls()).toBe("CHECK bridge\n");
    }
    expect(both[1]).toEqual(both[0]);
  });

  test("gives twenty pods at once twenty addresses, beside plugins that do the same", async () => {
    clean();
    configure(shapes[0] as Shape);
    const pods = await Promise.all(Array.from({ length: 20 }, () => openPod(generateSandboxId())));
    const [inProcess, byPlugins] = [network("process"), network("plugins")];
    const results = await Promise.all(
      pods.map(({ attachment }, i) =>
        (i % 4 === 0 ? byPlugins : inProcess).attach(ctx, attachment),
      ),
    );
    expect(new Set(results.map(({ ips }) => ips[0])).size).toBe(20);
    await Promise.all(pods.map(({ attachment }) => inProcess.detach(ctx, attachment)));
    for (const pod of pods) await pod[Symbol.asyncDispose]();
    await eventually(() =>
      expect(readdirSync(`${dir}/ipam/shape`).sort()).toEqual(["last_reserved_ip.0", "lock"]),
    );
    await eventually(() => gone(generateSandboxId()));
  });

  test("says that a range is full, and takes what has been given back", async () => {
    clean();
    const range = { ...v4, rangeStart: "10.77.0.10", rangeEnd: "10.77.0.12" };
    configure({ name: "small", bridge: { isGateway: true }, ipam: { ranges: [[range]] } });
    const made = network("process");
    const pods = await Promise.all(Array.from({ length: 4 }, () => openPod(generateSandboxId())));
    const attach = async (i: number) =>
      (await made.attach(ctx, pods[i]?.attachment as Attachment)).ips;
    expect([await attach(0), await attach(1), await attach(2)].flat()).toEqual([
      ...["10.77.0.10", "10.77.0.11", "10.77.0.12"],
    ]);
    // The plugin is asked in the end, so that it says what is wrong.
    await expect(attach(3).catch(String)).resolves.toContain("no IP addresses available");
    await made.detach(ctx, pods[1]?.attachment as Attachment);
    await eventually(() => expect(existsSync(`${dir}/ipam/shape/10.77.0.11`)).toBe(false));
    expect(await attach(3)).toEqual(["10.77.0.11"]);
    for (const i of [0, 2, 3]) await made.detach(ctx, pods[i]?.attachment as Attachment);
    for (const pod of pods) await pod[Symbol.asyncDispose]();
    await eventually(() => gone(generateSandboxId()));
  });

  test("is left to the node's own plugins, and to plugins where anything is unknown", async () => {
    const id = generateSandboxId();
    for (const [bridge, expected] of [
      [{ isGateway: true, enabledad: true }, "ADD bridge\n"],
      [{ isGateway: true, promiscMode: true }, "ADD bridge\n"],
      [{ isGateway: true, IPMASQ: true }, "ADD bridge\n"],
      [{ isGateway: true }, ""],
    ] as const) {
      clean();
      configure({ name: "odd", bridge, ipam: { ranges: [[v4]] } });
      await using pod = await openPod(id);
      await network("process").attach(ctx, pod.attachment);
      expect(calls()).toBe(expected);
      await network("plugins").detach(ctx, pod.attachment);
      gone(id);
    }
    clean();
    configure({ name: "usual", bridge: { isGateway: true }, ipam: { ranges: [[v4]] } });
    mkdirSync(`${dir}/node`);
    symlinkSync(`${dir}/plugins/bridge`, `${dir}/node/bridge`);
    await using pod = await openPod(id);
    const own = new CniNetwork({
      confDirs: [`${dir}/conf`],
      pluginDirs: [`${dir}/node`],
      cacheDir: `${dir}/cache`,
      stateDir: `${dir}/state`,
      fallback: "none",
      embeddedPluginDir: `${dir}/plugins`,
      links: ownProgram("links"),
    });
    await own.attach(ctx, pod.attachment);
    await own.detach(ctx, pod.attachment);
    expect(calls()).toBe("ADD bridge\nDEL bridge\n");
    gone(id);
  });

  test("replaces an address that the bridge should not have, as the plugin does", async () => {
    clean();
    configure({
      name: "forced",
      bridge: { isGateway: true, forceAddress: true },
      ipam: { ranges: [[v4]] },
    });
    run("ip", "link", "add", "br77", "type", "bridge");
    run("ip", "addr", "add", "10.66.0.1/24", "dev", "br77");
    await using pod = await openPod(generateSandboxId());
    await network("process").attach(ctx, pod.attachment);
    expect(run("ip", "-4", "-br", "addr", "show", "br77")).toMatch(/ 10\.77\.0\.1\/24 *\n$/);
    await network("process").detach(ctx, pod.attachment);
    await eventually(() => gone(pod.attachment.sandboxId));
  });
});

function run(...argv: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout.toString();
}
