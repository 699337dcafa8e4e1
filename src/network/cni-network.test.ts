import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { eventually } from "../../test/harness/eventually.ts";
import type { Context } from "../lib/context.ts";
import { kindOf } from "../lib/errors.ts";
import { generateSandboxId } from "../lib/id.ts";
import { silentLog } from "../lib/log.ts";
import type { Attachment } from "./cni/attachment.ts";
import { CniNetwork } from "./cni-network.ts";
import { namespaceIdentity } from "./namespace/identity.ts";

/** A plugin that writes down how it was called and then runs the script `on-<COMMAND>`, if there is one. */
const plugin = `#!/bin/sh
dir=\${0%/*}
echo "$CNI_COMMAND \${0##*/} netns=$CNI_NETNS" >> $dir/calls
cat > $dir/stdin-$CNI_COMMAND-\${0##*/}
env > $dir/env
[ ! -e $dir/on-$CNI_COMMAND ] || . $dir/on-$CNI_COMMAND
`;
const result = {
  cniVersion: "1.0.0",
  interfaces: [{ name: "veth1" }, { name: "eth0", sandbox: "/ns" }],
  ips: [{ address: "10.1.2.3/24", gateway: "10.1.2.1", interface: 1 }, { address: "fd00::3/64" }],
};
const ctx: Context = { signal: AbortSignal.timeout(600_000), log: silentLog };

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(`${tmpdir()}/network-`);
  for (const name of ["conf", "bin", "cache"]) mkdirSync(`${dir}/${name}`);
  for (const name of ["first", "second"]) {
    writeFileSync(`${dir}/bin/${name}`, plugin);
    chmodSync(`${dir}/bin/${name}`, 0o755);
  }
  configure({});
  pluginReturns(result);
});

afterEach(() => rmSync(dir, { recursive: true }));

function configure(extra: object): void {
  const plugins = [{ type: "first", capabilities: { portMappings: true } }, { type: "second" }];
  const conflist = { cniVersion: "1.0.0", name: "test", plugins, ...extra };
  writeFileSync(`${dir}/conf/10-test.conflist`, JSON.stringify(conflist));
}

function on(command: string, script: string): void {
  writeFileSync(`${dir}/bin/on-${command}`, script);
}

function pluginReturns(value: unknown): void {
  on("ADD", `cat <<'END'\n${typeof value === "string" ? value : JSON.stringify(value)}\nEND\n`);
}

function open() {
  return new CniNetwork({
    confDirs: [`${dir}/conf`],
    pluginDirs: [`${dir}/bin`],
    cacheDir: `${dir}/cache`,
    stateDir: `${dir}/state`,
    fallback: "none",
    embeddedPluginDir: `${dir}/none`,
    foreignResultsDir: `${dir}/results`,
  });
}

function calls(): readonly string[] {
  const path = `${dir}/bin/calls`;
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").trim().split("\n");
}

function stdin(name: string) {
  return JSON.parse(readFileSync(`${dir}/bin/stdin-${name}`, "utf8"));
}

const records = () => readdirSync(`${dir}/cache`).filter((name) => name.endsWith(".json"));

function attachment(extra: Partial<Attachment> = {}): Attachment {
  return {
    sandboxId: generateSandboxId(),
    netnsPath: "/proc/self/ns/net",
    netnsIdentity: namespaceIdentity("/proc/self/ns/net"),
    podName: "web",
    podNamespace: "default",
    podUid: "u1",
    portMappings: [{ protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" }],
    annotations: {},
    dns: { servers: [], searches: [], options: [] },
    cgroupParent: "",
    ...extra,
  };
}

describe("attach() and detach()", () => {
  test("run the chain forwards and backwards, and leave no record", async () => {
    const network = open();
    const pod = attachment();
    expect(await network.attach(ctx, pod)).toEqual({
      ips: ["10.1.2.3", "fd00::3"],
      interfaceName: "eth0",
      network: "test",
    });
    expect(records()).toEqual([`${pod.sandboxId}.json`]);
    expect(stdin("ADD-first").runtimeConfig.portMappings).toEqual([
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
    ]);
    expect(stdin("ADD-second").prevResult).toEqual(result);
    expect(stdin("ADD-second").runtimeConfig).toBeUndefined();

    await network.check(ctx, pod);
    // The configuration may change or go: DEL is with the one that ADD was with.
    rmSync(`${dir}/conf/10-test.conflist`);
    await open().detach(ctx, pod);
    await open().detach(ctx, pod);
    const netns = "netns=/proc/self/ns/net";
    expect(calls()).toEqual([
      `ADD first ${netns}`,
      `ADD second ${netns}`,
      `CHECK first ${netns}`,
      `CHECK second ${netns}`,
      `DEL second ${netns}`,
      `DEL first ${netns}`,
    ]);
    expect(stdin("DEL-first").prevResult).toEqual(result);
    expect(records()).toEqual([]);
  });

  test("tell plugins of the pod, and nothing of our own environment", async () => {
    const pod = attachment();
    await open().attach(ctx, pod);
    const env = readFileSync(`${dir}/bin/env`, "utf8");
    expect(env).toContain(
      `CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${pod.sandboxId};K8S_POD_UID=u1\n`,
    );
    const names = env.split("\n").map((line) => line.split("=")[0]);
    expect(names).not.toContain("HOME");
  });

  test("after a reboot DEL learns that the namespace is gone", async () => {
    const pod = attachment();
    await open().attach(ctx, pod);
    await open().detach(ctx, { ...pod, netnsPath: undefined });
    expect(calls().at(-1)).toBe("DEL first netns=");
    expect(records()).toEqual([]);
  });

  test("a record whose DEL did not succeed is kept for the next attempt", async () => {
    const network = open();
    const pod = attachment();
    await network.attach(ctx, pod);
    on("DEL", 'echo \'{"code": 11, "msg": "busy", "details": "later"}\'; exit 1');
    const failure = network.detach(ctx, pod);
    expect(failure).rejects.toThrow("second DEL: busy; later");
    await failure.catch((err) => expect(kindOf(err)).toBe("unavailable"));
    expect(calls().at(-1)).toStartWith("DEL first");
    expect(records()).toHaveLength(1);
    on("DEL", "");
    await network.detach(ctx, pod);
    expect(records()).toEqual([]);
  });

  test("attaching again takes down what an earlier attempt left", async () => {
    const network = open();
    const pod = attachment();
    await network.attach(ctx, pod);
    await network.attach(ctx, pod);
    expect(calls().map((line) => line.split(" ")[0])).toEqual([
      "ADD",
      "ADD",
      "DEL",
      "DEL",
      "ADD",
      "ADD",
    ]);
  });

  test.each([
    ["an address that is none", { ...result, ips: [{ address: "999.1.1.1/24" }] }, "999.1.1.1/24"],
    ["no address", { ...result, ips: [] }, "gave no address"],
    [
      "only addresses of the host's side",
      { ...result, ips: [{ address: "10.0.0.1/8", interface: 0 }] },
      "gave no address",
    ],
    [
      "an interface that is not there",
      { ...result, ips: [{ address: "10.0.0.1/8", interface: 7 }] },
      "no interface 7",
    ],
    ["an unknown version", { ...result, cniVersion: "8.0.0" }, 'version "8.0.0"'],
    ["no JSON", "hello", "not valid JSON"],
    ["nothing", "", "not valid JSON"],
  ])("a plugin that returns %s is an error, and DEL follows", async (_, value, message) => {
    pluginReturns(value);
    const failure = open().attach(ctx, attachment());
    expect(failure).rejects.toThrow();
    await failure.catch((err) => {
      expect(String(Bun.inspect(err))).toContain(message);
      expect(kindOf(err)).toBe("unavailable");
    });
    expect(
      calls()
        .slice(-2)
        .map((line) => line.slice(0, 10)),
    ).toEqual(["DEL second", "DEL first "]);
    expect(records()).toEqual([]);
  });

  test("a plugin that writes without end is stopped", async () => {
    on("ADD", "exec yes");
    expect(open().attach(ctx, attachment())).rejects.toThrow("wrote more than 1048576 bytes");
    await open()
      .attach(ctx, attachment())
      .catch((err) => expect(kindOf(err)).toBe("resource-exhausted"));
  });

  test("a plugin that hangs is killed when the caller gives up, and DEL follows", async () => {
    on("ADD", "trap '' TERM; sleep 1000 & wait");
    const leaving = new AbortController();
    const attaching = open()
      .attach({ ...ctx, signal: leaving.signal }, attachment())
      .then(
        () => "attached",
        () => "given up",
      );
    await eventually(() => expect(calls()[0]).toStartWith("ADD"));
    leaving.abort(new Error("enough"));
    expect(await attaching).toBe("given up");
    expect(
      calls()
        .slice(-2)
        .map((line) => line.slice(0, 3)),
    ).toEqual(["DEL", "DEL"]);
    expect(records()).toEqual([]);
  });

  test("refuses names that would become further arguments, and ports that are none", async () => {
    const network = open();
    expect(network.attach(ctx, attachment({ podName: "a;K8S_POD_UID=x" }))).rejects.toThrow(
      "K8S_POD_NAME",
    );
    const portMappings = [
      { protocol: "tcp", containerPort: 0, hostPort: 70_000, hostIp: "" },
    ] as const;
    expect(network.attach(ctx, attachment({ portMappings }))).rejects.toThrow(
      "70000 is not a port",
    );
    const annotations = { "kubernetes.io/ingress-bandwidth": "fast" };
    expect(network.attach(ctx, attachment({ annotations }))).rejects.toThrow("not a rate");
    expect(calls()).toEqual([]);
  });

  test("refuses a plugin that others may change", async () => {
    chmodSync(`${dir}/bin/first`, 0o777);
    expect(open().attach(ctx, attachment())).rejects.toThrow("others than root may change it");
    expect((await open().status(ctx)).ready).toBe(false);
  });
});

describe("status()", () => {
  test("follows the configuration directory", async () => {
    const network = open();
    expect(await network.status(ctx)).toEqual({ ready: true, reason: "", message: "" });
    rmSync(`${dir}/conf/10-test.conflist`);
    expect(await network.status(ctx)).toEqual({
      ready: false,
      reason: "NetworkPluginNotReady",
      message: `no network configuration in ${dir}/conf`,
    });
    configure({ plugins: [{ type: "missing" }] });
    expect((await network.status(ctx)).message).toContain("plugin missing is in none of");
  });

  test("asks plugins that speak 1.1.0", async () => {
    configure({ cniVersion: "1.1.0" });
    on("STATUS", 'echo \'{"code": 50, "msg": "no agent"}\'; exit 1');
    expect(await open().status(ctx)).toMatchObject({
      ready: false,
      message: "network test: first STATUS: no agent",
    });
  });
});

test("gc() takes down what is not kept, then notifies the plugins", async () => {
  configure({ cniVersion: "1.1.0" });
  pluginReturns({ ...result, cniVersion: "1.1.0" });
  const network = open();
  const [kept, lost] = [attachment(), attachment()];
  await network.attach(ctx, kept);
  await network.attach(ctx, lost);
  await network.gc(ctx, [kept.sandboxId]);
  expect(records()).toEqual([`${kept.sandboxId}.json`]);
  expect(stdin("GC-second")["cni.dev/valid-attachments"]).toEqual([
    { containerID: kept.sandboxId, ifname: "eth0" },
  ]);
});

test("gc() keeps what other runtimes have attached, and leaves all where that is not known", async () => {
  configure({ cniVersion: "1.1.0" });
  pluginReturns({ ...result, cniVersion: "1.1.0" });
  const network = open();
  const kept = attachment();
  await network.attach(ctx, kept);
  const results = `${dir}/results`;
  mkdirSync(results);
  const write = (name: string, networkName: string, ifName: string) => {
    const content = { kind: "cniCacheV1", containerId: "other", ifName, networkName };
    writeFileSync(`${results}/${name}`, JSON.stringify(content));
  };
  write("test-other-eth7", "test", "eth7");
  write("test-two-other-eth8", "test-two", "eth8");
  await network.gc(ctx, [kept.sandboxId]);
  expect(stdin("GC-second")["cni.dev/valid-attachments"]).toEqual([
    { containerID: kept.sandboxId, ifname: "eth0" },
    { containerID: "other", ifname: "eth7" },
  ]);
  const before = calls().length;
  writeFileSync(`${results}/test-broken-eth0`, "{");
  await expect(network.gc(ctx, [kept.sandboxId])).rejects.toThrow("test-broken-eth0");
  expect(calls().length).toBe(before);
});
