import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import {
  createScript,
  demoImage,
  type Pod,
  readLog,
  runPod,
  startScript,
  statusOf,
} from "../harness/pod.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

/* What a kubelet, crictl and dashboards see of pods, where they once saw something else than with containerd. */

let logs: TempDir;
let daemon: Daemon;
let pod: Pod;

beforeAll(async () => {
  logs = tempDir();
  mkdirSync(`${logs.path}/cdi`);
  const device = { name: "a", containerEdits: { env: ["GIVEN=a"] } };
  const spec = { cdiVersion: "0.6.0", kind: "test.example/gpu", devices: [device] };
  writeFileSync(`${logs.path}/cdi/gpu.json`, JSON.stringify(spec));
  const config = `[containers]
cdi_spec_dirs = ["${logs.path}/cdi"]
[runtime.handlers.runc]
pod_annotations = ["example.com/*"]
container_annotations = ["run.oci.*"]
`;
  daemon = await Daemon.start({ demoImage: true, config });
  pod = await runPod(daemon.cri, logs.path, {
    annotations: { "example.com/team": "shop", "run.oci.handler": "pod" },
  });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  logs[Symbol.dispose]();
});

/** What a program has written, when it has ended. */
async function output(id: string): Promise<string> {
  const { logPath } = await ended(id);
  return readLog(logPath) + readLog(logPath, "stderr");
}

async function ended(id: string): Promise<pb.ContainerStatus> {
  return await eventually(async () => {
    const status = await statusOf(daemon.cri, id);
    if (status.state !== pb.ContainerState.CONTAINER_EXITED) throw new Error("it has not ended");
    return status;
  });
}

/** The message of a promise that must fail. */
function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => "it succeeded", String);
}

describe("requests of the sizes that clusters have", () => {
  test("10,500 variables of 1,500 Services are all there", async () => {
    const envs = Array.from({ length: 10_500 }, (_, i) => ({
      key: `SERVICE_${i}_PORT_80_TCP`,
      value: Buffer.from("tcp://10.0.0.1:80"),
    }));
    const script = "env | grep -c ^SERVICE_; env | grep ^SERVICE_10499_";
    const id = await startScript(daemon.cri, pod, script, { envs });
    expect(await output(id)).toBe("10500\nSERVICE_10499_PORT_80_TCP=tcp://10.0.0.1:80\n");
    expect((await statusOf(daemon.cri, id)).exitCode).toBe(0);
  });

  test("an environment of nearly 2 MB, of variables of up to 128 KiB, and commands in it", async () => {
    const value = Buffer.alloc(120_000, "x");
    const envs = Array.from({ length: 16 }, (_, i) => ({ key: `BIG_${i}`, value }));
    const id = await startScript(daemon.cri, pod, 'echo -n "$BIG_15" | wc -c; sleep 1000', {
      envs,
    });
    await eventually(async () => {
      expect(readLog((await statusOf(daemon.cri, id)).logPath)).toBe("120000\n");
    });
    const { exitCode, stdout } = await daemon.cri.runtime.execSync({
      containerId: id,
      cmd: ["sh", "-c", 'echo -n "$BIG_0" | wc -c'],
      timeout: 60n,
    });
    expect([exitCode, Buffer.from(stdout).toString()]).toEqual([0, "120000\n"]);
    await daemon.cri.runtime.removeContainer({ containerId: id });
  });

  test("20,000 arguments, 3,000 annotations and labels, 200 mounts", async () => {
    const many = (prefix: string) =>
      Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`${prefix}-${i}`, "v"]));
    writeFileSync(`${logs.path}/mounted`, "here");
    const id = await startScript(daemon.cri, pod, 'echo $# "$(cat /m/199)"', {
      args: ["sh", ...Array.from({ length: 20_000 }, (_, i) => String(i))],
      labels: many("label"),
      annotations: many("annotation"),
      mounts: Array.from({ length: 200 }, (_, i) => ({
        ...{ containerPath: `/m/${i}`, hostPath: `${logs.path}/mounted`, readonly: true },
      })),
    });
    expect(await output(id)).toBe("20000 here\n");
    const status = await statusOf(daemon.cri, id);
    expect([Object.keys(status.labels).length, status.mounts.length]).toEqual([3000, 200]);
  });
});

describe("devices by annotation", () => {
  test("cdi.k8s.io/ of the container gives what the field gives, and each device once", async () => {
    const annotations = { "cdi.k8s.io/device-plugin_x": "test.example/gpu=a" };
    const id = await startScript(daemon.cri, pod, "env | grep GIVEN", { annotations });
    expect(await output(id)).toBe("GIVEN=a\n");
    const CDIDevices = [create(pb.CDIDeviceSchema, { name: "test.example/gpu=a" })];
    const both = await startScript(daemon.cri, pod, "env | grep GIVEN", {
      annotations,
      CDIDevices,
    });
    expect(await output(both)).toBe("GIVEN=a\n");
  });

  test("one that no file defines, and one that is no name, are refused", async () => {
    for (const [value, why] of [
      ["test.example/gpu=none", "CDI device test.example/gpu=none"],
      ["test.example/gpu=a,test.example/gpu=none", "CDI device test.example/gpu=none"],
      ["garbage", "not vendor/class=name"],
      ["", "not vendor/class=name"],
    ] as const) {
      const annotations = { "cdi.k8s.io/x": value };
      expect(await failure(createScript(daemon.cri, pod, "true", { annotations }))).toContain(why);
    }
  });

  test("the pod's own annotation gives nothing", async () => {
    const asking = await runPod(daemon.cri, logs.path, {
      annotations: { "cdi.k8s.io/x": "test.example/gpu=a" },
    });
    const id = await startScript(daemon.cri, asking, "env | grep GIVEN; true");
    expect(await output(id)).toBe("");
  });
});

interface Info {
  readonly config: {
    readonly metadata: object;
    readonly image: object;
    readonly command: string[];
  };
  readonly runtimeSpec: {
    readonly process: { readonly args: readonly string[] };
    readonly annotations: Readonly<Record<string, string>>;
    readonly linux: {
      readonly namespaces: readonly { readonly type: string; readonly path?: string }[];
    };
  };
}

async function inspect(containerId: string): Promise<Info> {
  const { info } = await daemon.cri.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info["info"] ?? "") as Info;
}

async function inspectPod(podSandboxId: string): Promise<Info> {
  const { info } = await daemon.cri.runtime.podSandboxStatus({ podSandboxId, verbose: true });
  return JSON.parse(info["info"] ?? "") as Info;
}

describe("verbose status", () => {
  test("of a container has its configuration and its OCI spec, also when it has ended", async () => {
    const id = await startScript(daemon.cri, pod, "exit 3");
    await ended(id);
    const { config, runtimeSpec } = await inspect(id);
    expect(config).toMatchObject({
      image: { image: demoImage },
      command: ["/bin/sh", "-c", "exit 3"],
    });
    expect(runtimeSpec.process.args).toEqual(["/bin/sh", "-c", "exit 3"]);
  });

  test("of a pod has the path of its network namespace, with and without a process that holds one", async () => {
    const shared = await runPod(daemon.cri, logs.path, {
      linux: { securityContext: { namespaceOptions: { pid: pb.NamespaceMode.POD } } },
    });
    await startScript(daemon.cri, shared, "sleep 1000", {
      linux: { securityContext: { namespaceOptions: { pid: pb.NamespaceMode.POD } } },
    });
    for (const { id } of [pod, shared]) {
      const info = await inspectPod(id);
      const path = info.runtimeSpec.linux.namespaces.find(({ type }) => type === "network")?.path;
      // nsfs: what `nsenter --net=PATH` takes.
      const inPod = Bun.spawnSync(["nsenter", `--net=${path}`, "cat", "/proc/net/dev"]);
      expect(inPod.stdout.toString()).toContain("eth0");
      expect(info).toMatchObject({
        sandboxMetadata: { NetNSPath: path },
        config: { metadata: { namespace: "test" } },
      });
      const { status } = await daemon.cri.runtime.podSandboxStatus({ podSandboxId: id });
      expect(info).toHaveProperty("cniResult.Interfaces.eth0.IPConfigs.0.IP", status?.network?.ip);
      expect(info.runtimeSpec.annotations["io.kubernetes.cri.container-type"]).toBe("sandbox");
    }
  });

  test("the OCI spec says what the container is in Kubernetes, and what its handler lets through of clients", async () => {
    const id = await createScript(daemon.cri, pod, "true", {
      metadata: { name: "web", attempt: 0 },
      image: { image: demoImage },
      annotations: { "run.oci.keep": "yes", "example.com/team": "not this one" },
    });
    const { annotations } = (await inspect(id)).runtimeSpec;
    const { "org.criu.config": _, ...seen } = annotations;
    expect(seen).toEqual({
      "io.kubernetes.cri.container-type": "container",
      "io.kubernetes.cri.container-name": "web",
      "io.kubernetes.cri.image-name": demoImage,
      "io.kubernetes.cri.sandbox-id": pod.id,
      "io.kubernetes.cri.sandbox-name": pod.config.metadata?.name ?? "",
      "io.kubernetes.cri.sandbox-namespace": "test",
      "io.kubernetes.cri.sandbox-uid": pod.config.metadata?.uid ?? "",
      "io.kubernetes.cri.sandbox-log-directory": pod.config.logDirectory,
      "example.com/team": "shop",
      "run.oci.keep": "yes",
    });
    await daemon.cri.runtime.removeContainer({ containerId: id });
  });
});

test("ContainerStatus and lists have the image's full name, however it was asked for", async () => {
  const { image } = await daemon.cri.image.imageStatus({ image: { image: demoImage } });
  const id = image?.id ?? "";
  for (const asked of [demoImage, id, id.slice("sha256:".length), id.slice(7, 20)]) {
    const container = await createScript(daemon.cri, pod, "true", { image: { image: asked } });
    const status = await statusOf(daemon.cri, container);
    expect([asked, status.image?.image, status.imageId]).toEqual([asked, demoImage, id]);
    const { containers } = await daemon.cri.runtime.listContainers({ filter: { id: container } });
    expect(containers[0]?.image?.image).toBe(demoImage);
    await daemon.cri.runtime.removeContainer({ containerId: container });
  }
});

describe("statistics and metrics", () => {
  test("labels and values are those of containerd, and a pod that has ended is in no list", async () => {
    const measured = await runPod(daemon.cri, logs.path);
    const limit = 64n << 20n;
    await startScript(daemon.cri, measured, "sleep 1000", {
      metadata: { name: "web", attempt: 0 },
      linux: {
        resources: { memoryLimitInBytes: limit },
        securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } },
      },
    });
    const { runtime } = daemon.cri;
    const { descriptors } = await runtime.listMetricDescriptors({});
    const { podMetrics } = await runtime.listPodSandboxMetrics({});
    const of = podMetrics.find(({ podSandboxId }) => podSandboxId === measured.id);
    const labelsOf = ({ name, labelValues }: pb.Metric) => {
      const keys = descriptors.find((descriptor) => descriptor.name === name)?.labelKeys ?? [];
      return Object.fromEntries(keys.map((key, i) => [key, labelValues[i]]));
    };
    expect(of?.metrics.length).toBeGreaterThan(0);
    for (const metric of of?.metrics ?? [])
      expect(labelsOf(metric)).toMatchObject({ container: "" });
    const metrics = of?.containerMetrics[0]?.metrics ?? [];
    const value = (name: string) => metrics.find((one) => one.name === name)?.value?.value;
    for (const metric of metrics.filter(({ name }) => name.startsWith("container_fs_"))) {
      expect(labelsOf(metric)).toHaveProperty("device");
    }
    const usage = metrics.find(({ name }) => name === "container_fs_limit_bytes");
    expect(usage && labelsOf(usage)["device"]).toBe(mountSourceOf(daemon.root));
    expect(value("container_memory_total_active_file_bytes")).toBeDefined();
    expect(value("container_memory_total_inactive_file_bytes")).toBeDefined();
    expect(value("container_spec_memory_swap_limit_bytes")).toBe(limit);
    const { stats } = await runtime.podSandboxStats({ podSandboxId: measured.id });
    expect(stats?.linux?.network?.interfaces.map(({ name }) => name)).toContain("eth0");

    await runtime.stopPodSandbox({ podSandboxId: measured.id });
    const listed = await runtime.listPodSandboxStats({});
    expect(listed.stats.map(({ attributes }) => attributes?.id)).not.toContain(measured.id);
    await runtime.removePodSandbox({ podSandboxId: measured.id });
  });
});

/** The source of the mount that a path is on, as findmnt(8) finds it; a disk by the name that the kernel gives it. */
function mountSourceOf(path: string): string {
  const { dev } = statSync(path);
  const numbers = `${(dev >> 8) & 0xfff}:${dev & 0xff}`;
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((mount) => mount.split(" ")[2] === numbers);
  const source = line?.split(" - ")[1]?.split(" ")[1] ?? "";
  return source === "/dev/root"
    ? `/dev/${/DEVNAME=(.+)/.exec(readFileSync(`/sys/dev/block/${numbers}/uevent`, "utf8"))?.[1]}`
    : source;
}
