import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { complaintsOf, errorsOf } from "../harness/kubelet/findings.ts";
import { startHealthProxy } from "../harness/kubelet/health-proxy.ts";
import { Kubelet } from "../harness/kubelet/kubelet.ts";
import {
  cadvisorSocket,
  cgroupsOf,
  makeNode,
  type Node,
  nodeAddress,
} from "../harness/kubelet/node.ts";
import {
  lineCount,
  makePods,
  pinnedImage,
  pulledImage,
  unusedImage,
} from "../harness/kubelet/pods.ts";
import { leftOvers } from "../harness/leaks.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { demoImage, expectNumberedLines } from "../harness/pod.ts";
import { startRegistry, writeMirrors } from "../harness/registry-server.ts";
import { openCommand } from "../harness/streams/command-client.ts";
import { ForwardClient } from "../harness/streams/forward-client.ts";
import { tempDir } from "../harness/temp-dir.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);

/** For what a kubelet does in its own time. */
const patienceMs = 300_000;

/** Pods whose containers are to live until their manifests go. */
const steady = ["web", "logs", "stubborn", "restricted", "pulled", "talk"];

describe.skipIf(!hasOwnNetwork)("a kubelet and its pods", () => {
  const resources = new AsyncDisposableStack();
  let dir: string;
  let node: Node;
  let daemon: Daemon;
  let kubelet: Kubelet;
  let unusedId = "";
  /** What crib has said before it was killed. */
  let killedLog = "";

  beforeAll(async () => {
    dir = resources.use(tempDir("/var/tmp")).path;
    node = resources.use(await makeNode(dir));
    const registry = resources.use(await startRegistry());
    mkdirSync(`${dir}/certs.d`);
    await writeMirrors(`${dir}/certs.d`, registry.host);
    daemon = resources.use(
      await Daemon.start({
        demoImage: true,
        registryConfigDir: `${dir}/certs.d`,
        config: `[compat]\ncontainerd_socket = "${cadvisorSocket}"`,
        images: `pinned = [${JSON.stringify(pinnedImage)}]`,
      }),
    );
    const health = resources.use(await startHealthProxy(daemon.socket));
    kubelet = resources.use(new Kubelet(dir, node, daemon));
    for (const pod of makePods({ outDir: `${dir}/out`, healthPort: health.port }))
      kubelet.apply(pod);
    await kubelet.start(await configOfReadme(), {});
  });

  afterAll(async () => await resources.disposeAsync());

  /** What a command in a container prints. */
  async function run(pod: string, container: string, command: string): Promise<string> {
    const path = `/run/default/${pod}-node/${container}?cmd=${encodeURIComponent(command)}`;
    return await kubelet.get(path, "POST");
  }

  async function requireReady(): Promise<void> {
    const pods = await kubelet.pods();
    const ready = pods.filter(({ status }) =>
      status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"),
    );
    const names = ready.map(({ metadata }) => metadata.name.replace(/-node$/, ""));
    expect(names).toEqual(expect.arrayContaining(steady));
  }

  /** Of the pods that are to live: what may not change while something is restarted. */
  async function lives(): Promise<readonly object[]> {
    const pods = await Promise.all(steady.map((name) => kubelet.pod(name)));
    return pods.flatMap(({ status }) =>
      [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].map(
        // Not how often it was restarted: a kubelet that starts anew does not know that of an earlier sandbox.
        ({ name, containerID }) => ({ name, containerID }),
      ),
    );
  }

  const notes = (name: string) => readFileSync(`${dir}/out/${name}`, "utf8");

  test("pods get ready by their probes, with what their manifests ask for", async () => {
    await eventually(requireReady, patienceMs);

    expect(await run("web", "httpd", "cat /data/index.html")).toBe("page of web-node\n");
    expect(await run("web", "httpd", "cat /about/name")).toBe("web-node");
    expect(await run("web", "httpd", "stat -f -c %T /memory")).toBe("tmpfs\n");
    expect(await run("web", "httpd", "ls /image/bin/busybox")).toBe("/image/bin/busybox\n");
    expect(await run("web", "httpd", "cat /etc/hosts")).toContain("Kubernetes-managed hosts file");
    expect(await run("web", "httpd", "hostname")).toBe("web-node\n");
    expect(notes("order")).toBe("post-start\n");
    const { status } = await kubelet.pod("web");
    for (const host of [`${status.podIP}:8080`, `${nodeAddress}:18080`])
      expect(await (await fetch(`http://${host}/`)).text()).toBe("page of web-node\n");

    const { metadata } = await kubelet.pod("restricted");
    const inside = await run("restricted", "main", "cat /proc/self/status");
    expect(inside).toMatch(/^Uid:\t1000\t/m);
    expect(inside).toMatch(/^Groups:\t.*\b2000 $/m);
    expect(inside).toMatch(/^CapBnd:\t0+$/m);
    expect(inside).toMatch(/^NoNewPrivs:\t1$/m);
    expect(inside).toMatch(/^Seccomp:\t2$/m);
    expect(await run("restricted", "main", "cat /proc/self/uid_map")).toMatch(
      /^ +0 +[1-9]\d+ +65536$/m,
    );
    expect(await run("restricted", "main", "stat -c %u:%g /data/file")).toBe("1000:2000\n");
    const id = (await kubelet.container("restricted", "main")).containerID.replace("crib://", "");
    expect(cgroupsOf(node, `/pod${metadata.uid}/${id}`)).not.toEqual([]);

    const { imageID } = await kubelet.container("pulled", "main");
    const { image } = await daemon.cri.image.imageStatus({ image: { image: pulledImage } });
    expect(imageID).toBe(image?.repoDigests[0] ?? "");
    expect(await kubelet.get("/containerLogs/default/pulled-node/main")).toContain(nodeAddress);

    const { state } = await eventually(async () => {
      const job = await kubelet.container("job", "main");
      if (job.state.terminated === undefined) throw new Error("the job has not ended");
      return job;
    }, patienceMs);
    expect(state.terminated).toMatchObject({ exitCode: 0, reason: "Completed" });
    expect((await kubelet.pod("job")).status.phase).toBe("Succeeded");
  });

  test("a pod that is not to be restarted and whose program is missing has failed", async () => {
    await eventually(async () => {
      expect((await kubelet.pod("missing")).status.phase).toBe("Failed");
    }, patienceMs);
    const { state, restartCount } = await kubelet.container("missing", "main");
    expect(restartCount).toBe(0);
    expect(state.terminated).toMatchObject({ exitCode: 128, reason: "StartError" });
    expect(state.terminated?.message).toContain("/no/such/program");
    const { uid } = (await kubelet.pod("missing")).metadata;
    expect(readdirSync(`/var/log/pods/default_missing-node_${uid}/main`)).toEqual(["0.log"]);
  });

  test("what crashes comes back after a while, and its last words are told", async () => {
    const crashed = async (name: string) =>
      await eventually(async () => {
        const found = await kubelet.container("crash", name);
        expect(found.restartCount).toBeGreaterThanOrEqual(2);
        expect(found.state.waiting?.reason).toBe("CrashLoopBackOff");
        return found;
      }, patienceMs);
    const [message, log, memory] = await Promise.all(["message", "log", "memory"].map(crashed));
    expect(message?.lastState.terminated).toMatchObject({
      exitCode: 3,
      reason: "Error",
      message: "last words\n",
    });
    expect(log?.lastState.terminated).toMatchObject({ exitCode: 4, message: "said last\n" });
    expect(memory?.lastState.terminated).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
  });

  test("a probe that fails, or takes too long, restarts its container", async () => {
    for (const name of ["fails", "hangs"]) {
      const { lastState } = await eventually(async () => {
        const found = await kubelet.container("probes", name);
        expect(found.restartCount).toBeGreaterThanOrEqual(1);
        return found;
      }, patienceMs);
      expect(lastState.terminated).toMatchObject({ exitCode: 137 });
    }
  });

  test("logs are rotated without losing a line", async () => {
    const { uid } = (await kubelet.pod("logs")).metadata;
    const logs = `/var/log/pods/default_logs-node_${uid}/lines`;
    const all = `${dir}/all-lines`;
    await eventually(() => {
      const files = readdirSync(logs);
      const rotated = files.filter((name) => name !== "0.log").sort();
      expect(rotated.length).toBeGreaterThanOrEqual(2);
      const read = [...rotated, "0.log"].map((name) => {
        const bytes = readFileSync(join(logs, name));
        return name.endsWith(".gz") ? gunzipSync(bytes) : bytes;
      });
      writeFileSync(all, Buffer.concat(read));
      expectNumberedLines(all, lineCount);
    }, patienceMs);
  });

  test.each(["spdy", "websocket"] as const)(
    "exec and port-forward go through the kubelet over %s",
    async (transport) => {
      const query = "input=1&output=1&error=1&command=sh&command=-c&command=";
      const script = encodeURIComponent("cat; echo over >&2; exit 5");
      const wanted = { stdin: true, stdout: true, stderr: true };
      using client = await openCommand(
        transport,
        `${kubelet.url}/exec/default/web-node/httpd?${query}${script}`,
        wanted,
      );
      const bytes = randomBytes(1 << 20);
      await client.write(bytes);
      await client.endStdin();
      expect(await client.status()).toMatchObject({ details: { causes: [{ message: "5" }] } });
      expect((await client.stdout.all()).equals(bytes)).toBe(true);
      expect(client.stderr.text).toBe("over\n");

      const forward = `${kubelet.url}/portForward/default/web-node`;
      using forwarded = await ForwardClient.open(transport, forward);
      const connection = await forwarded.dial(8080);
      await connection.write(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
      expect((await connection.received.all()).toString()).toEndWith("page of web-node\n");
    },
  );

  test.each(["spdy", "websocket"] as const)(
    "attach goes through the kubelet over %s, to pipes and to a terminal",
    async (transport) => {
      const talk = `${kubelet.url}/attach/default/talk-node`;
      const streams = { stdin: true, stdout: true, stderr: true };
      using plain = await openCommand(transport, `${talk}/plain?input=1&output=1&error=1`, streams);
      await plain.write(`over ${transport}\n`);
      await plain.stdout.until(`got over ${transport}\n`);
      await plain.stderr.until(`err over ${transport}\n`);

      const wanted = { stdin: true, stdout: true, tty: true };
      const url = `${talk}/terminal?input=1&output=1&tty=1`;
      using terminal = await openCommand(transport, url, wanted);
      const rows = { spdy: 30, websocket: 40 }[transport];
      await terminal.resize(100, rows);
      // Sizes and keys come by streams of their own.
      await eventually(async () => {
        await terminal.write("size\n");
        await Bun.sleep(50);
        expect(terminal.stdout.text).toContain(`\r\n${rows} 100\r\n`);
      });
    },
  );

  test("statistics of a kubelet in its default configuration: cAdvisor finds containers and networks of pods", async () => {
    await requireStats({ fromCri: false });
  });

  test("crib is killed and comes back: no container is touched", async () => {
    const before = await lives();
    killedLog += daemon.log;
    await daemon.end("SIGKILL");
    await Bun.sleep(2000);
    writeFileSync(daemon.logFile, "");
    await daemon.start();
    await eventually(async () => {
      await requireReady();
      expect(await run("web", "httpd", "echo back")).toBe("back\n");
    }, patienceMs);
    expect(await lives()).toEqual(before);
  });

  test("pods that have crashed again and again end without their manifests", async () => {
    const names = ["crash", "probes"];
    for (const name of names) kubelet.remove(name);
    await eventually(async () => {
      const { containers } = await daemon.cri.runtime.listContainers({});
      const of = containers.map(({ labels }) => labels["io.kubernetes.pod.name"] ?? "");
      expect(of.filter((pod) => names.some((name) => pod === `${name}-node`))).toEqual([]);
    }, patienceMs);
  });

  test("the state directory is emptied in the same boot: pods run again without help", async () => {
    const before = new Set((await lives()).map((one) => JSON.stringify(one)));
    killedLog += daemon.log;
    await daemon.loseState();
    writeFileSync(daemon.logFile, "");
    await daemon.start();
    await eventually(async () => {
      const again = (await lives()).map((one) => JSON.stringify(one));
      expect(again.filter((one) => before.has(one))).toEqual([]);
      await requireReady();
      expect(await run("web", "httpd", "echo again")).toBe("again\n");
    }, patienceMs);
    // What ended with its processes had no time for its hooks.
    expect(notes("order")).toMatch(/^(?:post-start\n){2,}$/);
    writeFileSync(`${dir}/out/order`, "post-start\n");
    const phases = ["job", "missing"].map(async (name) => (await kubelet.pod(name)).status.phase);
    expect(await Promise.all(phases)).toEqual(["Succeeded", "Failed"]);
  });

  test("the kubelet starts again, with events and all figures from crib: no container is touched", async () => {
    const before = await lives();
    await daemon.cri.image.pullImage({ image: { image: pinnedImage } });
    const pulled = await daemon.cri.image.pullImage({ image: { image: unusedImage } });
    unusedId = pulled.imageRef;
    await kubelet.end();
    // Images are collected when it starts, unless a container goes that it has just listed, and after five minutes.
    const collecting = { imageMinimumGCAge: "1ns", imageMaximumGCAge: "2ns" };
    await kubelet.start(
      { ...(await configOfReadme()), ...collecting },
      {
        EventedPLEG: true,
        PodAndContainerStatsFromCRI: true,
        CRIListStreaming: true,
      },
    );
    await eventually(requireReady, patienceMs);
    expect(await lives()).toEqual(before);
    await requireStats({ fromCri: true });
    const metrics = await kubelet.get("/metrics");
    expect(metrics).toMatch(/^kubelet_evented_pleg_connection_success_count 1$/m);
  });

  test("it has removed the image that nothing uses, and no other", async () => {
    const isThere = async (image: string) =>
      (await daemon.cri.image.imageStatus({ image: { image } })).image !== undefined;
    await eventually(async () => expect(await isThere(unusedImage)).toBe(false), patienceMs);
    const removed = [...kubelet.log.matchAll(/"Removing image to free bytes" imageID="([^"]+)"/g)];
    expect(removed.map(([, id]) => id)).toEqual([unusedId]);
    const others = await Promise.all([pinnedImage, pulledImage, demoImage].map(isThere));
    expect(others).toEqual([true, true, true]);
  });

  test("pods without manifests end as they want to, and nothing of them is left", async () => {
    const pods = await kubelet.pods();
    const { sandboxes, containers } = await idsOf(daemon);
    for (const { metadata } of pods) kubelet.remove(metadata.name.replace(/-node$/, ""));
    await eventually(async () => {
      expect(await kubelet.pods()).toEqual([]);
      expect(await idsOf(daemon)).toEqual({ sandboxes: [], containers: [] });
      expect(readdirSync(`${kubelet.rootDir}/pods`)).toEqual([]);
    }, patienceMs);

    expect(notes("order")).toBe("post-start\npre-stop\nhttpd ends\nsidecar ends\n");
    const lastAlive = notes("alive").trimEnd().split("\n").at(-1) ?? "";
    const waited = Number.parseFloat(lastAlive) - Number.parseFloat(notes("asked"));
    expect(waited).toBeGreaterThan(2.5);
    // And not the half minute of a pod that says nothing.
    expect(waited).toBeLessThan(25);
    await eventually(() => {
      expect(leftOvers(daemon, [...sandboxes, ...containers])).toEqual([]);
      for (const { metadata } of pods) expect(cgroupsOf(node, metadata.uid)).toEqual([]);
    });
    const crib = new CribCommand(daemon);
    expect(await crib.ok("ps", "-a", "-q")).toBe("");
    expect(await crib.ok("pods", "-q")).toBe("");
  });

  test("neither of them has anything to complain about", () => {
    expect(complaintsOf(kubelet.log)).toEqual([]);
    expect(errorsOf(killedLog + daemon.log)).toEqual([]);
  });

  /** Of the pod `web`, in the kubelet's API. */
  async function requireStats({ fromCri }: { readonly fromCri: boolean }): Promise<void> {
    await eventually(async () => {
      const summary = JSON.parse(await kubelet.get("/stats/summary")) as Summary;
      expect(summary.node.runtime.imageFs.usedBytes).toBeGreaterThan(0);
      const pod = summary.pods.find(({ podRef }) => podRef.name === "web-node");
      expect(pod?.containers.map(({ name }) => name).sort()).toEqual(["grpc", "httpd", "sidecar"]);
      for (const { cpu, memory, rootfs, logs } of pod?.containers ?? []) {
        expect(cpu.usageCoreNanoSeconds).toBeGreaterThan(0);
        expect(memory.workingSetBytes).toBeGreaterThan(0);
        expect(rootfs.usedBytes).toBeGreaterThan(0);
        expect(logs.usedBytes).toBeGreaterThanOrEqual(0);
      }
      expect(pod?.cpu.usageCoreNanoSeconds).toBeGreaterThan(0);
      expect(pod?.memory.workingSetBytes).toBeGreaterThan(0);
      const labels = /container_cpu_usage_seconds_total\{.*container="httpd".*pod="web-node"/;
      expect(await kubelet.get("/metrics/resource")).toMatch(labels);
      expect(pod?.network?.rxBytes).toBeGreaterThan(0);
      expect(pod?.network?.name).toBe("eth0");
      const metrics = await kubelet.get("/metrics/cadvisor");
      expect(metrics).toMatch(labels);
      if (!fromCri) expect(metrics).toContain(`image="${demoImage}"`);
      expect(metrics).toMatch(/container_network_receive_bytes_total\{.*pod="web-node"/);
    }, patienceMs);
  }
});

/** The configuration that README shows. */
async function configOfReadme(): Promise<object> {
  const text = await Bun.file(resolve(import.meta.dir, "../../README.md")).text();
  const yaml = /```yaml\n(apiVersion: kubelet\.config[^`]*)```/.exec(text)?.[1];
  if (yaml === undefined) throw new Error("README shows no configuration for a kubelet");
  return Bun.YAML.parse(yaml) as object;
}

interface Summary {
  readonly node: { readonly runtime: { readonly imageFs: { readonly usedBytes: number } } };
  readonly pods: readonly {
    readonly podRef: { readonly name: string };
    readonly cpu: { readonly usageCoreNanoSeconds: number };
    readonly memory: { readonly workingSetBytes: number };
    readonly network?: { readonly name: string; readonly rxBytes: number };
    readonly containers: readonly {
      readonly name: string;
      readonly cpu: { readonly usageCoreNanoSeconds: number };
      readonly memory: { readonly workingSetBytes: number };
      readonly rootfs: { readonly usedBytes: number };
      readonly logs: { readonly usedBytes: number };
    }[];
  }[];
}

async function idsOf({ cri: { runtime } }: Daemon) {
  const [pods, containers] = [await runtime.listPodSandbox({}), await runtime.listContainers({})];
  return {
    sandboxes: pods.items.map(({ id }) => id),
    containers: containers.containers.map(({ id }) => id),
  };
}
