import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { busyboxRoot, defaultPath } from "../harness/images/busybox.ts";
import { layoutFiles, makeImage, makeLayer } from "../harness/images/oci-image.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { executable, payloadDir } from "../harness/payload.ts";
import {
  createScript,
  demoImage,
  expectNumberedLines,
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
[runtime.handlers.slow]
path = "${slowRuntime(logs.path)}"
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

/** runc, but for its `create`, which begins and does not end. */
function slowRuntime(directory: string): string {
  const path = `${directory}/slow`;
  const runc = `${payloadDir()}/runc`;
  writeFileSync(
    path,
    `#!/bin/sh\ncase "$*" in *" create "*) sleep 1000;; esac\nexec ${runc} "$@"\n`,
  );
  chmodSync(path, 0o755);
  return path;
}

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
    readonly mounts: readonly { readonly destination: string; readonly source: string }[];
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

describe("a creation that fails leaves no log file, by which a kubelet counts restarts", () => {
  test("whatever it fails of", async () => {
    const failing = await runPod(daemon.cri, logs.path);
    const directory = `${failing.config.logDirectory}/web`;
    mkdirSync(directory, { recursive: true });
    const gone = { containerPath: "/m", hostPath: "/dev/null/none" };
    for (const config of [
      { mounts: [gone] },
      { image: { image: "registry.example/none:1" } },
      { linux: { securityContext: { runAsUsername: "nobody-knows" } } },
    ]) {
      const creating = createScript(daemon.cri, failing, "true", {
        logPath: "web/0.log",
        ...config,
      });
      expect(await failure(creating)).not.toBe("it succeeded");
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  test("but one that another container writes to stays", async () => {
    const sharing = await runPod(daemon.cri, logs.path);
    const id = await startScript(daemon.cri, sharing, "sleep 1000", { logPath: "0.log" });
    const mounts = [{ containerPath: "/m", hostPath: "/dev/null/none" }];
    const creating = createScript(daemon.cri, sharing, "true", { logPath: "0.log", mounts });
    expect(await failure(creating)).not.toBe("it succeeded");
    expect(existsSync((await statusOf(daemon.cri, id)).logPath)).toBe(true);
  });

  test("nor does one that is cut off by kill -9", async () => {
    const config = create(pb.PodSandboxConfigSchema, {
      metadata: { name: "cut-off", namespace: "test", uid: crypto.randomUUID(), attempt: 0 },
      logDirectory: `${logs.path}/cut-off`,
      linux: { securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } } },
    });
    const made = await daemon.cri.runtime.runPodSandbox({ config, runtimeHandler: "slow" });
    const creating = failure(
      createScript(daemon.cri, { id: made.podSandboxId, config }, "true", { logPath: "0.log" }),
    );
    await eventually(() => expect(existsSync(`${logs.path}/cut-off/0.log`)).toBe(true));
    await daemon.end("SIGKILL");
    await creating;
    await daemon.start();
    await eventually(() => expect(existsSync(`${logs.path}/cut-off/0.log`)).toBe(false));
    const { containers } = await daemon.cri.runtime.listContainers({
      filter: { podSandboxId: made.podSandboxId },
    });
    expect(containers).toEqual([]);
  });
});

describe("a program that cannot be started fails in StartContainer, with exit code 128 and StartError", () => {
  for (const handler of ["runc", "crun"]) {
    test(`with ${handler}`, async () => {
      const { cri } = daemon;
      const config = create(pb.PodSandboxConfigSchema, {
        metadata: {
          name: `missing-${handler}`,
          namespace: "test",
          uid: crypto.randomUUID(),
          attempt: 0,
        },
        logDirectory: `${logs.path}/missing-${handler}`,
        linux: { securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } } },
      });
      const { podSandboxId: id } = await cri.runtime.runPodSandbox({
        config,
        runtimeHandler: handler,
      });
      const missing = { id, config };
      for (const [more, why] of [
        [{ command: ["/no/such/cmd"] }, /no\/such\/cmd.*no such file/i],
        [{ command: ["no-such-cmd"] }, /no-such-cmd/i],
        [{ command: ["/etc/passwd"] }, /permission denied/i],
        [{ command: ["/bin"] }, /directory|regular|not permitted|permission denied/i],
        [{ command: ["/bin/true"], workingDir: "/etc/passwd" }, /not a directory/i],
        [{ command: ["/bin/true"], workingDir: "/etc/passwd/below" }, /not a directory/i],
      ] as const) {
        const containerId = await createScript(cri, missing, "", {
          ...more,
          command: [...more.command],
        });
        expect((await statusOf(cri, containerId)).state).toBe(pb.ContainerState.CONTAINER_CREATED);
        expect(await failure(cri.runtime.startContainer({ containerId }))).toMatch(why);
        const status = await statusOf(cri, containerId);
        expect([why.source, status.state, status.reason, status.exitCode]).toEqual([
          ...[why.source, pb.ContainerState.CONTAINER_EXITED, "StartError", 128],
        ]);
        expect(status.message).toMatch(why);
        // crib itself starts what it has created itself, in place of runc.
        const asker = handler === "runc" ? /^(exec|chdir|runc create: )/ : /^crun create: /;
        expect(status.message).toMatch(asker);
        expect(status.message).not.toContain("without-unified");
        expect(status.finishedAt).toBeGreaterThan(0n);
        await cri.runtime.removeContainer({ containerId });
      }
    });
  }

  test("also when the daemon was killed before; one that is never started can be stopped and removed", async () => {
    const { cri } = daemon;
    const command = ["/no/such/cmd"];
    const started = await createScript(cri, pod, "", { command });
    const stopped = await createScript(cri, pod, "", { command });
    const removed = await createScript(cri, pod, "", { command });
    await daemon.end("SIGKILL");
    await daemon.start();
    expect((await statusOf(cri, started)).state).toBe(pb.ContainerState.CONTAINER_CREATED);
    expect(await failure(cri.runtime.startContainer({ containerId: started }))).toContain(
      "/no/such",
    );
    expect(await statusOf(cri, started)).toMatchObject({ reason: "StartError", exitCode: 128 });
    await cri.runtime.stopContainer({ containerId: stopped, timeout: 30n });
    expect((await statusOf(cri, stopped)).state).toBe(pb.ContainerState.CONTAINER_EXITED);
    for (const containerId of [started, stopped, removed]) {
      await cri.runtime.removeContainer({ containerId });
    }
    const own = await runPod(cri, logs.path);
    await createScript(cri, own, "", { command });
    await cri.runtime.stopPodSandbox({ podSandboxId: own.id });
    await cri.runtime.removePodSandbox({ podSandboxId: own.id });
  });
});

test("a create that hangs ends after the configured time, and a reset ends it at once", async () => {
  using temp = tempDir();
  const handlers = `[runtime.handlers.slow]\npath = "${slowRuntime(temp.path)}"\n`;
  await using hung = await Daemon.start({
    demoImage: true,
    config: `[runtime]\ncreate_timeout_seconds = 2\n${handlers}`,
  });
  const config = create(pb.PodSandboxConfigSchema, {
    metadata: { name: "slow", namespace: "test", uid: crypto.randomUUID(), attempt: 0 },
    logDirectory: `${temp.path}/logs`,
    linux: { securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } } },
  });
  const { podSandboxId: id } = await hung.cri.runtime.runPodSandbox({
    config,
    runtimeHandler: "slow",
  });
  const message = await failure(createScript(hung.cri, { id, config }, "true"));
  expect(message).toContain("slow create took over 2000 ms");
  await hung.end("SIGTERM");
  await hung.start(handlers);
  const creating = failure(createScript(hung.cri, { id, config }, "true", { logPath: "0.log" }));
  await eventually(() => expect(existsSync(`${temp.path}/logs/0.log`)).toBe(true));
  await hung.end("SIGKILL");
  await creating;
  const args = ["reset", "--yes", `--config=${hung.root}/config.toml`];
  const reset = Bun.spawnSync(
    [executable, ...args, `--root=${hung.root}`, `--state=${hung.state}`],
    { env: hung.env },
  );
  expect([reset.exitCode, reset.stderr.toString()]).toEqual([0, ""]);
  await hung.start(handlers);
  expect((await hung.cri.runtime.listPodSandbox({})).items).toEqual([]);
});

describe("a log has an entry for each line", () => {
  /** Tag and length of each entry. */
  const entriesOf = (path: string) =>
    readFileSync(path, "latin1")
      .split("\n")
      .slice(0, -1)
      .map((entry) => {
        const [, , tag = "", ...content] = entry.split(" ");
        return [tag, content.join(" ").length] as const;
      });

  test("of a program that writes byte by byte, in pieces only where it is over 16 KiB", async () => {
    const script =
      "seq 1 3000 | sed 's/^/line /' | dd bs=1 2>/dev/null; head -c 49000 /dev/zero | tr '\\0' x | dd bs=1 2>/dev/null; echo";
    const id = await startScript(daemon.cri, pod, script);
    const { logPath } = await ended(id);
    const entries = entriesOf(logPath);
    expect(entries.slice(3000)).toEqual([
      ["P", 16_384],
      ["P", 16_384],
      ["F", 16_232],
    ]);
    expect(entries.slice(0, 3000).every(([tag]) => tag === "F")).toBe(true);
    expect(readLog(logPath).split("\n").slice(0, 3000).join()).toBe(
      Array.from({ length: 3000 }, (_, i) => `line ${i + 1}`).join(),
    );
  });

  test("also when its monitor is killed again and again", async () => {
    const script = "seq 0 9999 | sed 's/^/line /' | dd bs=1 2>/dev/null";
    const id = await startScript(daemon.cri, pod, script);
    const { logPath } = await statusOf(daemon.cri, id);
    for (let i = 0; i < 8; i++) {
      const before = statSync(logPath).size;
      await eventually(async () => {
        const { state } = await statusOf(daemon.cri, id);
        if (state === pb.ContainerState.CONTAINER_EXITED) return;
        expect(statSync(logPath).size).toBeGreaterThan(before);
      });
      daemon.signalMonitors("SIGKILL");
    }
    await ended(id);
    await eventually(() => expectNumberedLines(logPath, 10_000));
    expect(entriesOf(logPath).filter(([tag]) => tag !== "F")).toEqual([]);
  });

  test("and a prompt without a reply is there after a while, as is the last line of a program", async () => {
    const id = await startScript(daemon.cri, pod, "printf 'Name? '; sleep 1000");
    await eventually(async () => {
      expect(entriesOf((await statusOf(daemon.cri, id)).logPath)).toEqual([["P", 6]]);
    });
    const last = await startScript(daemon.cri, pod, "printf 'no end'");
    expect(entriesOf((await ended(last)).logPath)).toEqual([["P", 6]]);
  });
});

describe("VOLUME of an image", () => {
  const volumeImage = "volumes.example/app:1";
  const list =
    "cd /data && stat -c '%n %F %a %u:%g %h' . sub sub/set link fifo twin >&1; cat sub/set twin; readlink link; cat /data/none 2>&1";
  const seen = [
    ...[
      ". directory 1770 33:34 3",
      "sub directory 750 1000:1001 2",
      "sub/set regular file 4755 1000:0 2",
    ],
    ...["link symbolic link 777 0:0 1", "fifo fifo 600 0:0 1", "twin regular file 4755 1000:0 2"],
    ...["content", "content", "sub/set", "cat: can't open '/data/none': No such file or directory"],
  ];

  beforeAll(async () => {
    const entries: readonly TarEntry[] = [
      ...(await busyboxRoot()),
      { type: "directory", path: "data", mode: 0o1770, uid: 33, gid: 34 },
      { type: "directory", path: "data/sub", mode: 0o750, uid: 1000, gid: 1001 },
      { type: "file", path: "data/sub/set", mode: 0o4755, uid: 1000, data: "content\n" },
      { type: "symlink", path: "data/link", target: "sub/set", mode: 0o777 },
      { type: "hard-link", path: "data/twin", target: "data/sub/set", mode: 0o4755, uid: 1000 },
      { type: "fifo", path: "data/fifo", mode: 0o600 },
      { type: "symlink", path: "linked", target: "/var/log", mode: 0o777 },
    ];
    const volumes = ["/data", "/not/there", "relative", "/linked/deep", "/proc/evil", "/dev/shm"];
    const image = makeImage([makeLayer(packTar(entries))], {
      Env: [defaultPath],
      Volumes: Object.fromEntries(volumes.map((path) => [path, {}])),
    });
    const descriptor = { annotations: { "io.containerd.image.name": volumeImage } };
    const files = [...layoutFiles([{ image, descriptor }])].map(
      ([path, data]): TarEntry => ({ type: "file", path, data }),
    );
    writeFileSync(`${daemon.root}/images/volumes.tar`, packTar(files));
    await eventually(async () => {
      const { image: found } = await daemon.cri.image.imageStatus({
        image: { image: volumeImage },
      });
      if (found === undefined) throw new Error("not imported yet");
    });
  });

  const image = { image: volumeImage };

  test("is there with what the image has, owned as there, or empty; writable also in a read-only root", async () => {
    for (const readonlyRootfs of [false, true]) {
      const id = await startScript(
        daemon.cri,
        pod,
        `${list}; echo new >/data/new && echo new >/not/there/new && echo new >/relative/new && ls -A /not/there /linked/deep; stat -c %a:%u /not/there; touch /x`,
        {
          image,
          linux: {
            securityContext: {
              readonlyRootfs,
              namespaceOptions: { pid: pb.NamespaceMode.CONTAINER },
            },
          },
        },
      );
      const text = await output(id);
      const empty = ["/linked/deep:", "", "/not/there:", "new", "755:0"];
      const root = readonlyRootfs ? ["touch: /x: Read-only file system"] : [];
      expect(text.trimEnd().split("\n")).toEqual([...seen, ...empty, ...root]);
      // Beside the overlay, which is what programs want that mount one themselves.
      const { runtimeSpec } = await inspect(id);
      expect(runtimeSpec.mounts.map(({ destination }) => destination)).toContain("/data");
      await daemon.cri.runtime.removeContainer({ containerId: id });
    }
  });

  test("goes with its container, is counted as its, and is another's own", async () => {
    const script = "dd if=/dev/zero of=/data/big bs=1M count=5 2>/dev/null; sleep 1000";
    const first = await startScript(daemon.cri, pod, script, { image });
    const second = await startScript(daemon.cri, pod, "ls /data", { image });
    expect(await output(second)).toBe("fifo\nlink\nsub\ntwin\n");
    const { mounts } = (await inspect(first)).runtimeSpec;
    const source = mounts.find(({ destination }) => destination === "/data")?.source ?? "";
    await eventually(async () => {
      expect(existsSync(`${source}/big`)).toBe(true);
      const { stats } = await daemon.cri.runtime.containerStats({ containerId: first });
      expect(stats?.writableLayer?.usedBytes?.value ?? 0n).toBeGreaterThanOrEqual(5n << 20n);
    });
    await daemon.cri.runtime.removeContainer({ containerId: first });
    expect(existsSync(source)).toBe(false);
  });

  test("is not made where a mount covers it", async () => {
    mkdirSync(`${logs.path}/covering`);
    writeFileSync(`${logs.path}/covering/mine`, "");
    const mounts = [{ containerPath: "/data/", hostPath: `${logs.path}/covering` }];
    const id = await startScript(daemon.cri, pod, "ls /data", { image, mounts });
    expect(await output(id)).toBe("mine\n");
  });

  test("belongs to the pod's users in a pod with a user namespace", async () => {
    const ids = [{ containerId: 0, hostId: 300_000, length: 65_536 }];
    const securityContext = {
      namespaceOptions: {
        pid: pb.NamespaceMode.CONTAINER,
        usernsOptions: { mode: pb.NamespaceMode.POD, uids: ids, gids: ids },
      },
    };
    const mapped = await runPod(daemon.cri, logs.path, {
      linux: create(pb.LinuxPodSandboxConfigSchema, { securityContext }),
    });
    const id = await startScript(
      daemon.cri,
      mapped,
      `${list}; touch /not/there/x; stat -c %u:%g /not/there/x /not/there`,
      {
        image,
        linux: create(pb.LinuxContainerConfigSchema, { securityContext }),
      },
    );
    expect((await output(id)).trimEnd().split("\n")).toEqual([...seen, "0:0", "0:0"]);
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

test("a state directory that pods' roots cannot reach: no user namespaces, and Status and pods say where", async () => {
  using temp = tempDir();
  expect(statSync(temp.path).mode & 0o777).toBe(0o700);
  await using closed = await Daemon.start({ demoImage: true, stateIn: temp.path });
  const { runtimeHandlers, info } = await closed.cri.runtime.status({ verbose: true });
  expect(runtimeHandlers.map(({ features }) => features?.userNamespaces)).not.toContain(true);
  expect(info["config"]).toContain(`${temp.path} cannot be searched by other users`);
  const ids = [{ containerId: 0, hostId: 300_000, length: 65_536 }];
  const usernsOptions = { mode: pb.NamespaceMode.POD, uids: ids, gids: ids };
  const linux = create(pb.LinuxPodSandboxConfigSchema, {
    securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER, usernsOptions } },
  });
  const running = failure(runPod(closed.cri, temp.path, { linux }));
  expect(await running).toContain(`${temp.path} cannot be searched`);
  const check = Bun.spawnSync([executable, "check", "--state", closed.state]).stdout.toString();
  expect(check).toContain(`${temp.path} has mode 0700`);
  // All others run.
  const open = await runPod(closed.cri, temp.path);
  await startScript(closed.cri, open, "true");
});
