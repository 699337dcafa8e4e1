/**
 * bun bench/pods.ts [--pods N] [--handler NAME] [--peer NAME=SOCKET ...] [--image REF]
 *
 * What a kubelet waits for: RunPodSandbox + CreateContainer + StartContainer of a pod as kubelets ask for it (PID
 * namespace of its own, RuntimeDefault seccomp, memory limit), then its removal; and what memory the daemon and its
 * monitor take with 1 and with 20 containers. Runs `dist/crib` by itself; a peer is any CRI socket with its own network,
 * taken in turn with crib pod by pod, so that the machine's moods meet both. Needs root and test/parts/setup.ts.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { create } from "@bufbuild/protobuf";
import * as pb from "../src/gen/runtime/v1/api_pb.ts";
import { type Cri, connectCri } from "../test/harness/cri.ts";
import { Daemon } from "../test/harness/daemon.ts";
import { startRegistry, writeMirrors } from "../test/harness/registry-server.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "20" },
    handler: { type: "string", default: "" },
    peer: { type: "string", multiple: true, default: [] },
    image: { type: "string", default: "registry.k8s.io/e2e-test-images/busybox:1.29-2" },
  },
});
const pods = Number(values.pods);
const logs = mkdtempSync("/tmp/crib-bench-");
const steps = [
  "RunPodSandbox",
  "CreateContainer",
  "StartContainer",
  "to started",
  "removal",
] as const;

interface Runtime {
  readonly name: string;
  readonly cri: Cri;
  readonly handler: string;
  readonly samples: Record<(typeof steps)[number], number[]>;
}

await using registry = await startRegistry();
await writeMirrors(`${logs}/certs.d`, registry.host);
await using daemon = await Daemon.start({ registryConfigDir: `${logs}/certs.d` });
using _logs = { [Symbol.dispose]: () => rmSync(logs, { recursive: true, force: true }) };

const runtimes = [
  open("crib", daemon.cri, values.handler),
  ...values.peer.map((peer) => {
    const [name = "", socket = ""] = peer.split("=");
    return open(name, connectCri(socket), "");
  }),
];
for (const { cri } of runtimes) await cri.image.pullImage({ image: { image: values.image } });
for (let i = 0; i < pods; i++)
  for (const runtime of runtimes) await removePod(runtime, await startPod(runtime));
printTable(
  ["median ms", ...runtimes.map(({ name }) => name)],
  steps.map((step) => [step, ...runtimes.map(({ samples }) => median(samples[step]).toFixed(1))]),
);

const memory: (readonly string[])[] = [["0", megabytes([daemon.pid]), ""]];
const [crib] = runtimes;
if (crib === undefined) throw new Error("unreachable");
for (let running = 0; running < 20; running++) {
  await startPod(crib);
  if (running !== 0 && running !== 19) continue;
  await Bun.sleep(2000);
  memory.push([String(running + 1), megabytes([daemon.pid]), megabytes(daemon.monitors())]);
}
console.log();
printTable(
  ["containers", "daemon, private MB (anonymous)", "monitor, private MB (anonymous)"],
  memory,
);

function open(name: string, cri: Cri, handler: string): Runtime {
  const samples = Object.fromEntries(
    steps.map((step) => [step, []]),
  ) as unknown as Runtime["samples"];
  return { name, cri, handler, samples };
}

async function startPod({ cri, handler, samples }: Runtime): Promise<string> {
  const security = {
    namespaceOptions: { pid: pb.NamespaceMode.CONTAINER },
    seccomp: { profileType: pb.SecurityProfile_ProfileType.RuntimeDefault },
  };
  const config = create(pb.PodSandboxConfigSchema, {
    metadata: { name: "bench", namespace: "bench", uid: crypto.randomUUID() },
    hostname: "bench",
    logDirectory: logs,
    linux: { cgroupParent: "/crib-bench", securityContext: security },
  });
  const containerConfig = create(pb.ContainerConfigSchema, {
    metadata: { name: "main" },
    image: { image: values.image },
    command: ["sleep", "10000"],
    logPath: `${config.metadata?.uid}.log`,
    linux: {
      resources: { memoryLimitInBytes: 256n << 20n, cpuShares: 100n },
      securityContext: security,
    },
  });
  const began = performance.now();
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config, runtimeHandler: handler });
  const ran = performance.now();
  const { containerId } = await cri.runtime.createContainer({
    podSandboxId,
    config: containerConfig,
    sandboxConfig: config,
  });
  const created = performance.now();
  await cri.runtime.startContainer({ containerId });
  const started = performance.now();
  samples.RunPodSandbox.push(ran - began);
  samples.CreateContainer.push(created - ran);
  samples.StartContainer.push(started - created);
  samples["to started"].push(started - began);
  return podSandboxId;
}

async function removePod({ cri, samples }: Runtime, podSandboxId: string): Promise<void> {
  const began = performance.now();
  await cri.runtime.stopPodSandbox({ podSandboxId });
  await cri.runtime.removePodSandbox({ podSandboxId });
  samples.removal.push(performance.now() - began);
}

/** Private and, of it, anonymous memory (smaps_rollup): the rest are pages of the executable that nobody else maps now. */
function megabytes(pids: readonly number[]): string {
  const sum = (key: RegExp) =>
    pids.reduce((total, pid) => {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
      const kilobytes = [...text.matchAll(key)].map(([, value]) => Number(value));
      return total + kilobytes.reduce((a, b) => a + b, 0);
    }, 0) / 1024;
  const all = sum(/^Private_(?:Clean|Dirty):\s+(\d+)/gm).toFixed(1);
  return `${all} (${sum(/^Anonymous:\s+(\d+)/gm).toFixed(1)})`;
}
