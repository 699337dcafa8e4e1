import { expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { failure, openClients } from "../../test/harness/cri-clients.ts";
import { container, openDomain, sandbox, sandboxConfig } from "../../test/harness/cri-domain.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";

const { SANDBOX_READY, SANDBOX_NOTREADY } = pb.PodSandboxState;

function setUp(...sandboxes: ReturnType<typeof sandbox>[]) {
  const domain = openDomain();
  for (const each of sandboxes) domain.pods.set(each.id, each);
  return { domain, ...openClients(domain) };
}

test("RunPodSandbox gives config and handler to the domain unchanged", async () => {
  const { domain, runtime } = setUp();
  const config = sandboxConfig({
    labels: { "io.kubernetes.pod.uid": "u-1", "": "", [`${"k".repeat(63)}`]: "ü" },
    annotations: { "a/b": "x".repeat(200_000), line: "1\n2" },
    hostname: "web",
    logDirectory: "/var/log/pods/default_web_u-1",
    portMappings: [{ containerPort: 80, hostPort: 8080, hostIp: "::1" }],
    dnsConfig: { servers: ["10.10.10.10"], searches: ["google.com"], options: ["ndots:8"] },
    linux: { cgroupParent: "/kubepods/pod1", sysctls: { "net.ipv4.ip_forward": "1" } },
  });
  const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler: "crun" });
  expect(podSandboxId).toMatch(/^[0-9a-f]{64}$/);
  expect(domain.calls).toEqual([["run", config, "crun"]]);
});

const refused: readonly [what: string, config: pb.PodSandboxConfig | undefined, message: string][] =
  [
    ["no config", undefined, "config is missing"],
    ["no metadata", withoutMetadata(), "config.metadata is missing"],
    [
      "no name",
      sandboxConfig({ metadata: { namespace: "n", uid: "u" } }),
      "metadata.name is missing",
    ],
    ["no namespace", sandboxConfig({ metadata: { name: "n", uid: "u" } }), "namespace is missing"],
    ["no uid", sandboxConfig({ metadata: { name: "n", namespace: "u" } }), "uid is missing"],
    [
      "a newline in a name",
      sandboxConfig({ metadata: { name: "a\nb", namespace: "n", uid: "u" } }),
      "a control character",
    ],
    [
      "a long name",
      sandboxConfig({ metadata: { name: "a".repeat(1025), namespace: "n", uid: "u" } }),
      "over 1024 characters",
    ],
    ["a long label", sandboxConfig({ labels: { key: "ü".repeat(2047) } }), "over 4096 bytes"],
    ["a NUL", sandboxConfig({ annotations: { a: "b\0" } }), "config.annotations: a NUL byte"],
    [
      "many labels",
      sandboxConfig({ labels: entries(250_001) }),
      "labels: more than 250000 entries",
    ],
    ["a relative log directory", sandboxConfig({ logDirectory: "logs" }), "not an absolute path"],
    [
      "a climbing log directory",
      sandboxConfig({ logDirectory: "/a/../b" }),
      "not an absolute path",
    ],
    [
      "a climbing cgroup",
      sandboxConfig({ linux: { cgroupParent: "/a/../.." } }),
      "not a cgroup path",
    ],
    [
      "a DNS newline",
      sandboxConfig({ dnsConfig: { searches: ["a\nnameserver 1"] } }),
      "printable word",
    ],
    ["port 65536", sandboxConfig({ portMappings: [{ hostPort: 65_536 }] }), "port 65536"],
    ["port -1", sandboxConfig({ portMappings: [{ containerPort: -1 }] }), "port -1"],
    ["a bad host IP", sandboxConfig({ portMappings: [{ hostIp: "1.2.3" }] }), "not an IP address"],
    [
      "an unknown namespace mode",
      sandboxConfig({
        linux: { securityContext: { namespaceOptions: { pid: 9 as pb.NamespaceMode } } },
      }),
      "linux.security_context.namespace_options.pid: unknown value 9",
    ],
    [
      "a group without a user",
      sandboxConfig({ linux: { securityContext: { runAsGroup: { value: 1n } } } }),
      "run_as_group is set without run_as_user",
    ],
  ];

for (const [what, config, message] of refused) {
  test(`RunPodSandbox refuses ${what}`, async () => {
    const { domain, runtime } = setUp();
    const status = await failure(runtime.runPodSandbox(config === undefined ? {} : { config }));
    expect(status.code).toBe(Code.InvalidArgument);
    expect(status.message).toContain(message);
    expect(domain.calls).toEqual([]);
  });
}

test("RunPodSandbox refuses a handler that is no name", async () => {
  const { runtime } = setUp();
  const call = runtime.runPodSandbox({ config: sandboxConfig(), runtimeHandler: "../x" });
  expect((await failure(call)).code).toBe(Code.InvalidArgument);
});

test("PodSandboxStatus gives back what was asked for and what is", async () => {
  const labels = { a: "1", ["__proto__"]: "x", constructor: "y" };
  const annotations = { "x/y": "  spaces\n\tand ünicode " };
  const namespaceOptions = { pid: pb.NamespaceMode.CONTAINER, ipc: pb.NamespaceMode.NODE };
  const pod = sandbox({
    config: sandboxConfig({
      labels,
      annotations,
      linux: { securityContext: { namespaceOptions } },
    }),
    handler: "crun",
    ips: ["10.1.2.3", "fd00::3"],
  });
  const { domain, runtime } = setUp(pod);
  const first = container(pod.id, { createdAtNs: 1n });
  const second = container(pod.id, { createdAtNs: 2n });
  for (const one of [first, second, container(sandbox().id)]) domain.running.set(one.id, one);

  const response = await runtime.podSandboxStatus({ podSandboxId: pod.id });
  const { status } = response;
  expect(status?.id).toBe(pod.id);
  expect(status?.metadata).toMatchObject({
    name: "web",
    namespace: "default",
    uid: "u-1",
    attempt: 2,
  });
  expect(status?.state).toBe(SANDBOX_READY);
  expect(status?.createdAt).toBe(1_700_000_000_123_456_789n);
  expect(status?.network?.ip).toBe("10.1.2.3");
  expect(status?.network?.additionalIps.map(({ ip }) => ip)).toEqual(["fd00::3"]);
  expect(status?.linux?.namespaces?.options).toMatchObject({ network: 0, ...namespaceOptions });
  expect(Object.entries(status?.labels ?? {})).toEqual(Object.entries(labels));
  expect(status?.annotations).toEqual(annotations);
  expect(status?.runtimeHandler).toBe("crun");
  expect(response.info).toEqual({});
  expect(response.timestamp).toBe(0n);
  // The one that counts, as a kubelet with EventedPLEG sees it.
  expect(response.containersStatuses.map(({ id }) => id)).toEqual([second.id, first.id]);
});

test("PodSandboxStatus leaves the network out for a pod in the node's, and keeps the IP after stop", async () => {
  const namespaceOptions = { network: pb.NamespaceMode.NODE };
  const config = sandboxConfig({ linux: { securityContext: { namespaceOptions } } });
  const onNode = sandbox({ config, ips: [] });
  const stopped = sandbox({ state: "not-ready" });
  const { runtime } = setUp(onNode, stopped);
  const first = await runtime.podSandboxStatus({ podSandboxId: onNode.id });
  expect(first.status?.network).toBeUndefined();
  const second = await runtime.podSandboxStatus({ podSandboxId: stopped.id });
  expect(second.status?.state).toBe(SANDBOX_NOTREADY);
  expect(second.status?.network?.ip).toBe("10.1.2.3");
});

test("PodSandboxStatus with verbose has info in JSON", async () => {
  const pod = sandbox();
  const { runtime } = setUp(pod);
  const { info } = await runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
  expect(JSON.parse(info["info"] ?? "")).toMatchObject({ pid: 0, networkAttached: true });
});

test("ids: a unique prefix is enough, others are not found, an empty one is refused", async () => {
  const pod = sandbox();
  const { runtime } = setUp(pod);
  const found = await runtime.podSandboxStatus({ podSandboxId: pod.id.slice(0, 12) });
  expect(found.status?.id).toBe(pod.id);
  for (const id of ["../x", ".", "a/b", "\0", "x".repeat(1 << 20), "A".repeat(64), `${pod.id}0`]) {
    const status = await failure(runtime.podSandboxStatus({ podSandboxId: id }));
    expect(status.code).toBe(Code.NotFound);
    await runtime.stopPodSandbox({ podSandboxId: id });
    await runtime.removePodSandbox({ podSandboxId: id });
  }
  const missing = await failure(runtime.podSandboxStatus({ podSandboxId: "" }));
  expect(missing.code).toBe(Code.InvalidArgument);
});

test("NotFound names the id as the client gave it", async () => {
  const { runtime } = setUp();
  const id = "d".repeat(64);
  const status = await failure(runtime.podSandboxStatus({ podSandboxId: id }));
  expect(status.message).toBe(`sandbox "${id}" not found`);
});

test("StopPodSandbox and RemovePodSandbox reach the domain with the whole id", async () => {
  const pod = sandbox();
  const { domain, runtime } = setUp(pod);
  await runtime.stopPodSandbox({ podSandboxId: pod.id.slice(0, 20) });
  await runtime.removePodSandbox({ podSandboxId: pod.id });
  await runtime.removePodSandbox({ podSandboxId: pod.id });
  expect(domain.calls).toEqual([
    ["stop", pod.id],
    ["remove", pod.id],
  ]);
});

test("ListPodSandbox filters by id prefix, state and labels, all at once", async () => {
  const a = sandbox({ config: sandboxConfig({ labels: { app: "a", tier: "1" } }) });
  const b = sandbox({ config: sandboxConfig({ labels: { app: "b" } }), state: "not-ready" });
  const starting = sandbox({ state: "starting" });
  const { runtime } = setUp(a, b, starting);
  const list = async (filter?: object): Promise<readonly string[]> =>
    (await runtime.listPodSandbox(filter === undefined ? {} : { filter })).items.map(
      ({ id }) => id,
    );
  expect(await list()).toEqual([a.id, b.id]);
  expect(await list({})).toEqual([a.id, b.id]);
  expect(await list({ id: a.id.slice(0, 13) })).toEqual([a.id]);
  expect(await list({ state: { state: SANDBOX_READY } })).toEqual([a.id]);
  expect(await list({ state: { state: SANDBOX_NOTREADY } })).toEqual([b.id]);
  expect(await list({ labelSelector: { app: "a", tier: "1" } })).toEqual([a.id]);
  expect(await list({ labelSelector: { app: "a", tier: "2" } })).toEqual([]);
  expect(await list({ labelSelector: { toString: "x" } })).toEqual([]);
  expect(await list({ id: a.id, state: { state: SANDBOX_NOTREADY } })).toEqual([]);
});

test("ListPodSandbox shows every field, and a new state after a change", async () => {
  const pod = sandbox({ config: sandboxConfig({ labels: { a: "1" }, annotations: { b: "2" } }) });
  const { runtime } = setUp(pod);
  const [item] = (await runtime.listPodSandbox({})).items;
  expect(item).toMatchObject({
    id: pod.id,
    state: SANDBOX_READY,
    createdAt: pod.createdAtNs,
    labels: { a: "1" },
    annotations: { b: "2" },
    runtimeHandler: "",
  });
  expect(item?.metadata).toMatchObject({
    name: "web",
    uid: "u-1",
    namespace: "default",
    attempt: 2,
  });
  await runtime.stopPodSandbox({ podSandboxId: pod.id });
  expect((await runtime.listPodSandbox({})).items[0]?.state).toBe(SANDBOX_NOTREADY);
});

test("UpdatePodSandboxResources gives overhead and resources to the domain", async () => {
  const pod = sandbox();
  const { domain, runtime } = setUp(pod);
  const resources = { memoryLimitInBytes: 1n << 30n, cpuQuota: 50_000n };
  await runtime.updatePodSandboxResources({ podSandboxId: pod.id, resources });
  expect(domain.calls).toMatchObject([["updateResources", pod.id, { resources }]]);
  const gone = await failure(runtime.updatePodSandboxResources({ podSandboxId: "f".repeat(64) }));
  expect(gone.code).toBe(Code.NotFound);
});

test("a sandbox that is still being made has no status", async () => {
  const pod = sandbox({ state: "starting" });
  const { runtime } = setUp(pod);
  const status = await failure(runtime.podSandboxStatus({ podSandboxId: pod.id }));
  expect(status.code).toBe(Code.NotFound);
});

function entries(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, ""]));
}

function withoutMetadata(): pb.PodSandboxConfig {
  const { metadata: _, ...config } = sandboxConfig();
  return config as pb.PodSandboxConfig;
}
