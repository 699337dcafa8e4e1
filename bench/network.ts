/**
 * bun bench/network.ts [--pods N]
 *
 * What a pod's network costs a kubelet's calls: with the usual conflist (bridge, ipMasq, host-local, portmap) done in
 * process and by the same plugins started, and with the embedded network; beside a pod without a network of its own.
 * All take turns, pod by pod, in a network namespace of their own.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { create } from "@bufbuild/protobuf";
import * as pb from "../src/gen/runtime/v1/api_pb.ts";
import { linkCniPlugins } from "../test/harness/cni-plugins.ts";
import { Daemon } from "../test/harness/daemon.ts";
import { tempDir } from "../test/harness/temp-dir.ts";
import { runInNamespace } from "./namespace.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "40" },
    "in-namespace": { type: "boolean", default: false },
  },
});
if (!values["in-namespace"]) {
  process.exit(runInNamespace(["--in-namespace", "--pods", values.pods]));
}
using temp = tempDir();
const plugins = `${temp.path}/plugins`;
mkdirSync(plugins);
linkCniPlugins(plugins);

interface Candidate {
  readonly name: string;
  readonly daemon: Daemon;
  readonly network: pb.NamespaceMode;
}

async function withConflist(
  name: string,
  at: number,
  pluginDirs: readonly string[],
): Promise<Candidate> {
  const config = `plugin_dirs = ${JSON.stringify(pluginDirs)}\n`;
  const daemon = await Daemon.start({ network: "none", config });
  mkdirSync(`${daemon.root}/net.d`);
  const ipam = {
    type: "host-local",
    dataDir: `${daemon.root}/ipam`,
    ranges: [[{ subnet: `10.${70 + at}.0.0/16` }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const bridge = {
    type: "bridge",
    bridge: `bench${at}`,
    isGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam,
  };
  const portmap = { type: "portmap", capabilities: { portMappings: true }, snat: true };
  const conflist = { cniVersion: "1.0.0", name: `bench${at}`, plugins: [bridge, portmap] };
  writeFileSync(`${daemon.root}/net.d/10-bench.conflist`, JSON.stringify(conflist));
  return { name, daemon, network: pb.NamespaceMode.POD };
}

const embedded = await Daemon.start({});
const candidates: readonly Candidate[] = [
  await withConflist("conflist, plugins", 1, [plugins]),
  await withConflist("conflist, in process", 2, []),
  { name: "embedded", daemon: embedded, network: pb.NamespaceMode.POD },
  { name: "host network", daemon: embedded, network: pb.NamespaceMode.NODE },
];

const steps = ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"] as const;
const samples = candidates.map(() => steps.map((): number[] => []));
for (let i = -3; i < Number(values.pods); i++) {
  for (const [at, { daemon, network }] of candidates.entries()) {
    const config = create(pb.PodSandboxConfigSchema, {
      metadata: { name: "bench", namespace: "bench", uid: crypto.randomUUID() },
      logDirectory: temp.path,
      linux: {
        cgroupParent: "/crib-bench",
        securityContext: { namespaceOptions: { network, pid: pb.NamespaceMode.CONTAINER } },
      },
    });
    const began = performance.now();
    const { podSandboxId } = await daemon.cri.runtime.runPodSandbox({ config });
    const ran = performance.now();
    await daemon.cri.runtime.stopPodSandbox({ podSandboxId });
    const stopped = performance.now();
    await daemon.cri.runtime.removePodSandbox({ podSandboxId });
    const removed = performance.now();
    // The first ones are a warm-up.
    if (i < 0) continue;
    for (const [step, ms] of [ran - began, stopped - ran, removed - stopped].entries()) {
      samples[at]?.[step]?.push(ms);
    }
  }
}
printTable(
  ["median ms", ...candidates.map(({ name }) => name)],
  steps.map((step, i) => [step, ...samples.map((own) => median(own[i] ?? []).toFixed(1))]),
);
for (const { daemon } of candidates.slice(0, 3)) await daemon[Symbol.asyncDispose]();
