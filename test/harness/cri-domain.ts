import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Container, ContainerState } from "../../src/container/container.ts";
import type { CriDeps } from "../../src/cri/deps.ts";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import type { Image, ImageId } from "../../src/image/image.ts";
import {
  type ContainerId,
  generateContainerId,
  generateSandboxId,
  type SandboxId,
} from "../../src/lib/id.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { PodEvent } from "../../src/sandbox/events/events.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { containerStats, nodeMetrics, podStats } from "./cri-stats.ts";

export function sandboxConfig(
  init: Omit<MessageInitShape<typeof pb.PodSandboxConfigSchema>, "$typeName"> = {},
): pb.PodSandboxConfig {
  return create(pb.PodSandboxConfigSchema, {
    metadata: { name: "web", namespace: "default", uid: "u-1", attempt: 2 },
    ...init,
  });
}

export function containerConfig(
  init: Omit<MessageInitShape<typeof pb.ContainerConfigSchema>, "$typeName"> = {},
): pb.ContainerConfig {
  return create(pb.ContainerConfigSchema, {
    metadata: { name: "nginx", attempt: 1 },
    image: { image: "registry.example/nginx:1" },
    ...init,
  });
}

export function sandbox(init: Partial<Sandbox> = {}): Sandbox {
  return {
    id: generateSandboxId(),
    config: sandboxConfig(),
    handler: "",
    createdAtNs: 1_700_000_000_123_456_789n,
    bootId: "boot",
    state: "ready",
    ips: ["10.1.2.3"],
    networkAttached: true,
    infra: undefined,
    ...init,
  };
}

export function image(init: Partial<Image> = {}): Image {
  return {
    id: digestOf("config") as string as ImageId,
    repoTags: ["registry.example/nginx:1"],
    repoDigests: [`registry.example/nginx@${digestOf("manifest")}`],
    sizeBytes: 12_345,
    config: {
      architecture: "amd64",
      os: "linux",
      variant: "",
      created: "2026-01-01T00:00:00Z",
      user: "101",
      env: ["A=b"],
      entrypoint: [],
      cmd: ["nginx"],
      workingDir: "/",
      stopSignal: "SIGQUIT",
      labels: {},
      volumes: [],
      exposedPorts: ["80/tcp"],
      diffIds: [digestOf("layer")],
    },
    diffIds: [digestOf("layer")],
    chain: [],
    artifactType: undefined,
    pinned: false,
    ...init,
  };
}

export function container(sandboxId: SandboxId, init: Partial<Container> = {}): Container {
  return {
    id: generateContainerId(),
    sandboxId,
    config: containerConfig(),
    createdAtNs: 1_700_000_001_000_000_001n,
    imageId: image().id,
    logPath: "/var/log/pods/x/nginx/0.log",
    user: { uid: 101, gid: 102, supplementalGroups: [102, 2000] },
    resources: undefined,
    stopSignal: 15,
    handler: "runc",
    cgroupPath: "/kubepods/x",
    bootId: "boot",
    task: { pid: 4242, startTime: 42, monitor: "m1" },
    state: { name: "running", pid: 4242, startedAtNs: 1_700_000_002_000_000_002n },
    ...init,
  };
}

export interface Domain extends CriDeps {
  /** What was asked of it, in order: operation and arguments without the context. */
  readonly calls: (readonly [string, ...unknown[]])[];
  readonly pods: Map<string, Sandbox>;
  readonly running: Map<string, Container>;
  readonly store: Image[];
  /** What a subscriber of events gets; then its stream ends. */
  readonly happened: PodEvent[];
}

/** A domain of plain maps: objects come, change state and go, and nothing runs. */
export function openDomain(): Domain {
  const calls: (readonly [string, ...unknown[]])[] = [];
  const pods = new Map<string, Sandbox>();
  const running = new Map<string, Container>();
  const store: Image[] = [];
  const happened: PodEvent[] = [];
  const setState = (id: ContainerId, state: ContainerState) => {
    const now = running.get(id);
    if (now !== undefined) running.set(id, { ...now, state });
  };
  return {
    calls,
    pods,
    running,
    store,
    happened,
    sandboxes: {
      list: () => [...pods.values()],
      find: (id) => unique(pods, id),
      inspect: () => ({ netns: "/run/crib/ns/net", runtimeSpec: { linux: { namespaces: [] } } }),
      run(_ctx, config, handler) {
        calls.push(["run", config, handler]);
        const made = sandbox({ config, handler });
        pods.set(made.id, made);
        return Promise.resolve(made.id);
      },
      stop(_ctx, id) {
        calls.push(["stop", id]);
        const now = pods.get(id);
        if (now !== undefined) pods.set(id, { ...now, state: "not-ready" });
        return Promise.resolve();
      },
      remove(_ctx, id) {
        calls.push(["remove", id]);
        pods.delete(id);
        return Promise.resolve();
      },
      updateResources(_ctx, id, change) {
        calls.push(["updateResources", id, change]);
        return Promise.resolve();
      },
    },
    containers: {
      list: () => [...running.values()],
      find: (id) => unique(running, id),
      spec: () => ({ process: { args: ["nginx"] } }),
      create(_ctx, sandboxId, config, sandboxConfiguration) {
        calls.push(["create", sandboxId, config, sandboxConfiguration]);
        const made = container(sandboxId, { config, state: { name: "created", pid: 1 } });
        running.set(made.id, made);
        return Promise.resolve(made.id);
      },
      start(_ctx, id) {
        calls.push(["start", id]);
        setState(id, { name: "running", pid: 1, startedAtNs: 1n });
        return Promise.resolve();
      },
      stop(_ctx, id, timeoutSeconds) {
        calls.push(["stop", id, timeoutSeconds]);
        return Promise.resolve();
      },
      remove(_ctx, id) {
        calls.push(["remove", id]);
        running.delete(id);
        return Promise.resolve();
      },
      checkpoint(_ctx, id, options) {
        calls.push(["checkpoint", id, options]);
        return Promise.resolve();
      },
      execSync(_ctx, id, options) {
        calls.push(["execSync", id, options]);
        const stdout = Buffer.from("out");
        return Promise.resolve({ exitCode: 3, stdout, stderr: Buffer.from("err") });
      },
      reopenLog(_ctx, id) {
        calls.push(["reopenLog", id]);
        return Promise.resolve();
      },
      updateResources(_ctx, id, resources, annotations) {
        calls.push(["updateResources", id, resources, annotations]);
        return Promise.resolve();
      },
    },
    profiles: {
      list: () => [],
      pull(_ctx, ref, credentials) {
        calls.push(["pullProfile", ref, credentials]);
        return Promise.resolve({ cached: true });
      },
      remove(digest) {
        calls.push(["removeProfile", digest]);
      },
    },
    images: {
      list: () => store,
      find: (ref) => store.find(({ id, repoTags }) => id === ref || repoTags.includes(ref)),
      pull(_ctx, ref, credentials) {
        calls.push(["pull", ref, credentials]);
        store.push(image({ repoTags: [ref] }));
        return Promise.resolve(image());
      },
      remove(_ctx, ref) {
        calls.push(["remove", ref]);
        return Promise.resolve();
      },
      usage: () =>
        Promise.resolve({
          images: { mountpoint: "/var/lib/crib/content", usedBytes: 1000, inodes: 10 },
          containers: { mountpoint: "/var/lib/crib/snapshots", usedBytes: 2000, inodes: 20 },
        }),
      isPinned: ({ pinned }) => pinned,
      userOf: ({ config }) =>
        /^\d+$/.test(config.user)
          ? { uid: Number(config.user) }
          : config.user === ""
            ? undefined
            : { username: config.user },
    },
    streaming: {
      url(request) {
        calls.push(["url", request]);
        return `http://127.0.0.1:1/${request.kind}/token`;
      },
    },
    stats: {
      ofContainers: (_ctx, wanted) => Promise.resolve(wanted.map((one) => containerStats(one))),
      ofPods: (_ctx, wanted) =>
        Promise.resolve(
          wanted.map((one) =>
            podStats(
              one,
              [...running.values()].filter(({ sandboxId }) => sandboxId === one.id),
            ),
          ),
        ),
      metrics: () => Promise.resolve(nodeMetrics([...pods.values()], [...running.values()])),
      accounts: { pressure: true, hugePages: true },
      mountpoint: "/var/lib/crib/snapshots",
    },
    events: {
      async *subscribe() {
        yield* happened;
      },
    },
    node: {
      version: "0.1.0",
      parts: { runc: "1.5.0" },
      cgroupDriver: "cgroupfs",
      handlers: [
        {
          name: "runc",
          recursiveReadOnlyMounts: true,
          userNamespaces: false,
          cgroupNamespaces: true,
        },
        {
          name: "crun",
          recursiveReadOnlyMounts: false,
          userNamespaces: true,
          cgroupNamespaces: false,
        },
      ],
      defaultHandler: "runc",
      whyNoUserNamespaces: undefined,
      sandboxImage: "registry.k8s.io/pause:3.10.1",
      rootDir: "/var/lib/crib",
      stateDir: "/run/crib",
      networkStatus: () =>
        Promise.resolve({ status: false, reason: "NoNetwork", message: "no configuration" }),
      setPodCidr(_ctx, podCidr) {
        calls.push(["setPodCidr", podCidr]);
        return Promise.resolve();
      },
      now: () => 1_700_000_009_000_000_009n,
    },
  };
}

function unique<T>(objects: ReadonlyMap<string, T>, prefix: string): T | undefined {
  const found = [...objects].filter(([id]) => id.startsWith(prefix));
  return found.length === 1 ? found[0]?.[1] : undefined;
}
