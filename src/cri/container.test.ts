import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { failure, openClients } from "../../test/harness/cri-clients.ts";
import {
  container,
  containerConfig,
  image,
  openDomain,
  sandbox,
  sandboxConfig,
} from "../../test/harness/cri-domain.ts";
import type { Container } from "../container/container.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { AppError } from "../lib/errors.ts";

const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = pb.ContainerState;
const pod = sandbox();

function setUp(...containers: Container[]) {
  const domain = openDomain();
  domain.pods.set(pod.id, pod);
  for (const each of containers) domain.running.set(each.id, each);
  domain.store.push(image());
  return { domain, ...openClients(domain) };
}

test("CreateContainer gives both configurations to the domain unchanged", async () => {
  const { domain, runtime } = setUp();
  const config = containerConfig({
    command: ["/bin/sh", "-c", "echo $A"],
    args: [""],
    envs: [{ key: "A", value: Buffer.from([0xff, 0x80]) }],
    mounts: [{ containerPath: "/etc/hosts", hostPath: "/var/lib/kubelet/hosts" }],
    labels: { a: "1" },
    logPath: "nginx/0.log",
    stopSignal: pb.Signal.SIGUSR1,
  });
  const { containerId } = await runtime.createContainer({
    podSandboxId: pod.id.slice(0, 10),
    config,
    sandboxConfig: sandboxConfig(),
  });
  expect(containerId).toMatch(/^[0-9a-f]{64}$/);
  const [operation, sandboxId, given, givenSandbox] = domain.calls[0] ?? [];
  expect([operation, sandboxId]).toEqual(["create", pod.id]);
  expect(toBinary(pb.ContainerConfigSchema, given as pb.ContainerConfig)).toEqual(
    toBinary(pb.ContainerConfigSchema, config),
  );
  expect(givenSandbox).toEqual(sandboxConfig());
});

const refused: readonly [what: string, config: pb.ContainerConfig, message: string][] = [
  [
    "no metadata",
    create(pb.ContainerConfigSchema, { image: { image: "x" } }),
    "metadata is missing",
  ],
  ["no name", containerConfig({ metadata: { attempt: 1 } }), "config.metadata.name is missing"],
  ["no image", containerConfig({ image: {} }), "config.image is missing"],
  ["a long label", containerConfig({ labels: { a: "x".repeat(4096) } }), "over 4096 bytes"],
  ["an absolute log path", containerConfig({ logPath: "/etc/passwd" }), "below the log directory"],
  ["a climbing log path", containerConfig({ logPath: "a/../../b" }), "below the log directory"],
  ["a NUL in an argument", containerConfig({ args: ["a\0b"] }), "config.args: a NUL byte"],
  ["a huge argument", containerConfig({ command: ["x".repeat(131_072)] }), "over 131071 bytes"],
  [
    "a mount to nowhere",
    containerConfig({ mounts: [{ hostPath: "/a" }] }),
    "container_path is missing",
  ],
  [
    "a mount of two things",
    containerConfig({ mounts: [{ containerPath: "/a", hostPath: "/a", image: { image: "b" } }] }),
    "both host_path and image",
  ],
  [
    "an unknown propagation",
    containerConfig({ mounts: [{ containerPath: "/a", propagation: 7 as pb.MountPropagation }] }),
    "config.mounts.propagation: unknown value 7",
  ],
  [
    "an unknown signal",
    containerConfig({ stopSignal: 200 as pb.Signal }),
    "stop_signal: unknown value",
  ],
];

for (const [what, config, message] of refused) {
  test(`CreateContainer refuses ${what}`, async () => {
    const { domain, runtime } = setUp();
    const status = await failure(runtime.createContainer({ podSandboxId: pod.id, config }));
    expect(status.code).toBe(Code.InvalidArgument);
    expect(status.message).toContain(message);
    expect(domain.calls).toEqual([]);
  });
}

test("CreateContainer in a sandbox that is not there is NotFound", async () => {
  const { runtime } = setUp();
  const call = runtime.createContainer({ podSandboxId: "0".repeat(64), config: containerConfig() });
  expect((await failure(call)).code).toBe(Code.NotFound);
});

test("ContainerStatus of a running container has every field", async () => {
  const resources = create(pb.LinuxContainerResourcesSchema, {
    cpuShares: 512n,
    memoryLimitInBytes: 1n << 30n,
  });
  const mounts = [
    { containerPath: "/dev/termination-log", hostPath: "/var/lib/x", readonly: true },
  ];
  const subject = container(pod.id, {
    config: containerConfig({
      image: { image: image().id, userSpecifiedImage: "registry.example/nginx:1" },
      labels: { l: "1" },
      annotations: { a: "2" },
      mounts,
    }),
    resources,
  });
  const { runtime } = setUp(subject);
  const { status, info } = await runtime.containerStatus({ containerId: subject.id });
  expect(info).toEqual({});
  expect(status).toMatchObject({
    id: subject.id,
    metadata: { name: "nginx", attempt: 1 },
    state: CONTAINER_RUNNING,
    createdAt: subject.createdAtNs,
    startedAt: 1_700_000_002_000_000_002n,
    finishedAt: 0n,
    exitCode: 0,
    reason: "",
    image: { image: "registry.example/nginx:1" },
    imageId: image().id,
    imageRef: image().repoDigests[0] ?? "",
    labels: { l: "1" },
    annotations: { a: "2" },
    logPath: "/var/log/pods/x/nginx/0.log",
    stopSignal: pb.Signal.SIGTERM,
    user: { linux: { uid: 101n, gid: 102n, supplementalGroups: [102n, 2000n] } },
    resources: { linux: { cpuShares: 512n, memoryLimitInBytes: 1n << 30n } },
  });
  expect(status?.mounts).toHaveLength(1);
  expect(status?.mounts[0]).toMatchObject(mounts[0] ?? {});
});

test("ContainerStatus returns how a container ended", async () => {
  const exited = container(pod.id, {
    state: {
      name: "exited",
      startedAtNs: 5n,
      finishedAtNs: 9n,
      exitCode: 137,
      reason: "OOMKilled",
      message: "out of memory",
    },
  });
  const created = container(pod.id, { state: { name: "created", pid: 7 } });
  const { runtime } = setUp(exited, created);
  const end = await runtime.containerStatus({ containerId: exited.id });
  expect(end.status).toMatchObject({
    state: CONTAINER_EXITED,
    startedAt: 5n,
    finishedAt: 9n,
    exitCode: 137,
    reason: "OOMKilled",
    message: "out of memory",
  });
  const begin = await runtime.containerStatus({ containerId: created.id, verbose: true });
  expect(begin.status).toMatchObject({ state: CONTAINER_CREATED, startedAt: 0n, finishedAt: 0n });
  expect(JSON.parse(begin.info["info"] ?? "")).toMatchObject({
    ...{ pid: 7, sandboxID: pod.id },
    config: {
      metadata: { name: "nginx", attempt: 1 },
      image: { image: "registry.example/nginx:1" },
    },
    runtimeSpec: { process: { args: ["nginx"] } },
  });
});

test("ContainerStatus has the image's id as image_ref when the image is gone or came from no registry", async () => {
  const subject = container(pod.id);
  const { domain, runtime } = setUp(subject);
  domain.store.length = 0;
  const gone = await runtime.containerStatus({ containerId: subject.id });
  expect(gone.status?.imageRef).toBe(image().id);
  domain.store.push(image({ repoDigests: [] }));
  const local = await runtime.containerStatus({ containerId: subject.id });
  expect(local.status?.imageRef).toBe(image().id);
});

test("image_ref is of the repository that the user named", async () => {
  const repoDigests = ["mirror.example/a/nginx@sha256:1", "registry.example:5000/nginx@sha256:2"];
  const subject = container(pod.id, {
    config: containerConfig({ image: { image: "registry.example:5000/nginx:1" } }),
  });
  const { domain, runtime } = setUp(subject);
  domain.store[0] = image({ repoDigests });
  const { status } = await runtime.containerStatus({ containerId: subject.id });
  expect(status?.imageRef).toBe("registry.example:5000/nginx@sha256:2");
});

test("ListContainers filters by id, sandbox, state and labels", async () => {
  const other = sandbox();
  const a = container(pod.id, { config: containerConfig({ labels: { app: "a" } }) });
  const b = container(pod.id, { state: { name: "created", pid: 1 } });
  const c = container(other.id);
  const { runtime } = setUp(a, b, c);
  const list = async (filter?: object): Promise<readonly string[]> =>
    (await runtime.listContainers(filter === undefined ? {} : { filter })).containers.map(
      ({ id }) => id,
    );
  expect(await list()).toEqual([a.id, b.id, c.id]);
  expect(await list({ id: b.id.slice(0, 12) })).toEqual([b.id]);
  expect(await list({ podSandboxId: pod.id })).toEqual([a.id, b.id]);
  expect(await list({ state: { state: CONTAINER_RUNNING } })).toEqual([a.id, c.id]);
  expect(await list({ state: { state: CONTAINER_CREATED } })).toEqual([b.id]);
  expect(await list({ labelSelector: { app: "a" } })).toEqual([a.id]);
  const [item] = (await runtime.listContainers({ filter: { id: a.id } })).containers;
  expect(item).toMatchObject({
    id: a.id,
    podSandboxId: pod.id,
    metadata: { name: "nginx", attempt: 1 },
    image: { image: "registry.example/nginx:1" },
    imageRef: image().repoDigests[0] ?? "",
    imageId: image().id,
    state: CONTAINER_RUNNING,
    createdAt: a.createdAtNs,
    labels: { app: "a" },
  });
});

test("StartContainer, StopContainer and RemoveContainer reach the domain", async () => {
  const subject = container(pod.id);
  const { domain, runtime } = setUp(subject);
  await runtime.startContainer({ containerId: subject.id });
  await runtime.stopContainer({ containerId: subject.id, timeout: 30n });
  await runtime.stopContainer({ containerId: subject.id, timeout: -1n });
  await runtime.stopContainer({ containerId: subject.id, timeout: 1n << 62n });
  await runtime.removeContainer({ containerId: subject.id.slice(0, 30) });
  expect(domain.calls).toEqual([
    ["start", subject.id],
    ["stop", subject.id, 30],
    ["stop", subject.id, 0],
    ["stop", subject.id, 604_800],
    ["remove", subject.id],
  ]);
});

test("a container that is not there: Stop and Remove succeed, the others are NotFound", async () => {
  const { runtime } = setUp();
  const containerId = "a".repeat(64);
  await runtime.stopContainer({ containerId });
  await runtime.removeContainer({ containerId });
  const calls = [
    runtime.startContainer({ containerId }),
    runtime.containerStatus({ containerId }),
    runtime.reopenContainerLog({ containerId }),
    runtime.updateContainerResources({ containerId, linux: {} }),
    runtime.execSync({ containerId, cmd: ["true"] }),
  ];
  for (const call of calls) {
    const status = await failure(call);
    expect(status).toEqual({
      code: Code.NotFound,
      message: `container "${containerId}" not found`,
    });
  }
});

test("UpdateContainerResources and ReopenContainerLog reach the domain", async () => {
  const subject = container(pod.id);
  const { domain, runtime } = setUp(subject);
  const containerId = subject.id;
  const linux = create(pb.LinuxContainerResourcesSchema, {
    cpuQuota: 50_000n,
    unified: { "a.b": "1" },
  });
  await runtime.updateContainerResources({ containerId, linux, annotations: { k: "v" } });
  await runtime.reopenContainerLog({ containerId });
  expect(domain.calls).toEqual([
    ["updateResources", containerId, linux, { k: "v" }],
    ["reopenLog", containerId],
  ]);
  const status = await failure(runtime.updateContainerResources({ containerId }));
  expect(status.code).toBe(Code.InvalidArgument);
});

test("ExecSync returns the exit code in its response", async () => {
  const subject = container(pod.id);
  const { domain, runtime } = setUp(subject);
  const cmd = ["sh", "-c", "exit 3", ""];
  const response = await runtime.execSync({ containerId: subject.id, cmd, timeout: 7n });
  expect(response.exitCode).toBe(3);
  expect(Buffer.from(response.stdout).toString()).toBe("out");
  expect(Buffer.from(response.stderr).toString()).toBe("err");
  expect(domain.calls).toEqual([["execSync", subject.id, { argv: cmd, timeoutMs: 7000 }]]);
  await runtime.execSync({ containerId: subject.id, cmd, timeout: 1n << 60n });
  expect(domain.calls[1]?.[2]).toEqual({ argv: cmd, timeoutMs: 24 * 24 * 3600 * 1000 });
});

test("ExecSync refuses an empty command and a negative timeout; a command over time is DeadlineExceeded", async () => {
  const subject = container(pod.id);
  const { domain, runtime } = setUp(subject);
  const containerId = subject.id;
  for (const request of [{ cmd: [] }, { cmd: [""] }, { cmd: ["a"], timeout: -1n }]) {
    const status = await failure(runtime.execSync({ containerId, ...request }));
    expect(status.code).toBe(Code.InvalidArgument);
  }
  domain.containers.execSync = () =>
    Promise.reject(new AppError("exec took over 1 s", { kind: "deadline-exceeded" }));
  const status = await failure(runtime.execSync({ containerId, cmd: ["sleep"], timeout: 1n }));
  expect(status).toEqual({ code: Code.DeadlineExceeded, message: "exec took over 1 s" });
});
