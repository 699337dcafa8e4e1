/**
 * bun bench/compare.ts [--rounds N] [--density N] [--write | --page]
 *
 * crib beside containerd with runc and with crun, the newest that Debian sid has, in one run on the same work: the same
 * conflist and plugins, image, request and client, in one network namespace, all taking turns. How long a pod takes to
 * start and to be gone, what the first ones take, how many a second up to 100, CPU time and memory of all processes, calls
 * that change nothing, commands in containers, logs, command lines, and starts of the daemon. That a pod's address is reachable and a command in it works is checked. `--write` makes bench/RESULTS.md and
 * bench/results.json, `--page` makes the page again of the figures that are there.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { NamespaceMode } from "../src/gen/runtime/v1/api_pb.ts";
import type { Cri } from "../test/harness/cri.ts";
import { Daemon } from "../test/harness/daemon.ts";
import { eventually } from "../test/harness/eventually.ts";
import { dataDir, executable } from "../test/harness/payload.ts";
import { startRegistry, writeMirrors } from "../test/harness/registry-server.ts";
import { parts } from "../test/parts/paths.ts";
import { LogLines } from "./log-lines.ts";
import { runInNamespace } from "./namespace.ts";
import { fetchPeers, type PeerPrograms, peerHandlers, startContainerd } from "./peers.ts";
import { type PodRequest, type StartedPod, startPod } from "./pod.ts";
import { type Result, readSteps, resultsPage, type StepTime } from "./results.ts";
import { image } from "./runtimes.ts";
import { median, percentile, printTable } from "./table.ts";
import {
  type CallTimes,
  callFigures,
  type Figure,
  measureCommands,
  measureExec,
  measureLogs,
  timeCalls,
  timeUntilServing,
} from "./work.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "30" },
    density: { type: "string", default: "100" },
    write: { type: "boolean", default: false },
    page: { type: "boolean", default: false },
    peers: { type: "string", default: "" },
  },
});
if (values.page) {
  const kept = await Bun.file(`${import.meta.dir}/results.json`).json();
  writeFileSync(`${import.meta.dir}/RESULTS.md`, resultsPage(kept));
  process.exit();
}
if (values.peers === "") {
  const peers = JSON.stringify(await fetchPeers());
  const write = values.write ? ["--write"] : [];
  const { rounds, density } = values;
  process.exit(
    runInNamespace(["--rounds", rounds, "--density", density, ...write, "--peers", peers]),
  );
}
const programs: PeerPrograms = JSON.parse(values.peers);
const rounds = Number(values.rounds);
const density = Number(values.density);
/** Pods that a daemon starts with. */
const firstPods = 5;

await using resources = new AsyncDisposableStack();
const dir = mkdtempSync("/var/tmp/crib-bench-");
resources.defer(() => rmSync(dir, { recursive: true, force: true }));
mkdirSync(`${dir}/certs.d`);
const registry = resources.use(await startRegistry());
await writeMirrors(`${dir}/certs.d`, registry.host);

/** One configuration of one runtime. */
interface Candidate {
  readonly runtime: string;
  readonly cri: Cri;
  readonly handler: string;
  readonly network: "conflist" | "host" | "embedded";
  readonly accounts: Accounts;
  readonly socket: string;
}

/** Cgroups that hold a daemon with all that it starts, and its pods. */
interface Accounts {
  readonly daemon: readonly string[];
  readonly pods: string;
}

const isVersion2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
const cpuRoot = isVersion2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpuacct";

function openAccounts(name: string): Accounts {
  const cgroup = `${cpuRoot}/crib-bench-${name}-${process.pid}`;
  mkdirSync(cgroup);
  resources.defer(() => eventually(() => rmdirSync(cgroup), 10_000).catch(() => {}));
  return { daemon: [cgroup], pods: `/crib-bench-pods-${name}` };
}

function cpuSeconds({ daemon, pods }: Accounts): number {
  return cpuSecondsOf([...daemon, cpuRoot + pods]);
}

function cpuSecondsOf(cgroups: readonly string[]): number {
  const used = cgroups.map((cgroup) => {
    if (!existsSync(cgroup)) return 0;
    return isVersion2
      ? Number(/usage_usec (\d+)/.exec(readFileSync(`${cgroup}/cpu.stat`, "latin1"))?.[1]) / 1e6
      : Number(readFileSync(`${cgroup}/cpuacct.usage`, "latin1")) / 1e9;
  });
  return used.reduce((a, b) => a + b, 0);
}

/** Proportional set size of the daemon, all that stays for its pods, and their pause processes. */
function memoryBytes({ daemon, pods }: Accounts): number {
  const own = daemon.flatMap((cgroup) => pidsOf(cgroup));
  const below = [...new Bun.Glob("**/cgroup.procs").scanSync({ cwd: cpuRoot + pods })];
  const pause = below
    .flatMap((file) => pidsOf(`${cpuRoot}${pods}/${file.slice(0, -"/cgroup.procs".length)}`))
    .filter((pid) => readFileSync(`/proc/${pid}/comm`, "latin1").trim() === "pause");
  const kilobytes = [...own, ...pause].map((pid) => {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]);
  });
  return kilobytes.reduce((a, b) => a + b, 0) * 1024;
}

function pidsOf(cgroup: string): readonly number[] {
  const text = readFileSync(`${cgroup}/cgroup.procs`, "latin1");
  return text.split("\n").filter(Boolean).map(Number);
}

function conflist(at: number): object {
  const ipam = {
    type: "host-local",
    dataDir: `${dir}/ipam`,
    ranges: [[{ subnet: `10.${70 + at}.0.0/16` }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const bridge = {
    ...{ type: "bridge", bridge: `bench${at}`, isGateway: true, ipMasq: true },
    ...{ hairpinMode: true, ipam },
  };
  const portmap = { type: "portmap", capabilities: { portMappings: true }, snat: true };
  return { cniVersion: "1.0.0", name: `bench${at}`, plugins: [bridge, portmap] };
}

async function startCrib(name: string, at: number, config = ""): Promise<[Daemon, Accounts]> {
  const isEmbedded = at === 0;
  const accounts = openAccounts(name);
  const daemon = resources.use(
    await Daemon.start({
      registryConfigDir: `${dir}/certs.d`,
      stateIn: "/dev/shm",
      network: isEmbedded ? "embedded" : "none",
      config: isEmbedded ? config : `plugin_dirs = []\n${config}`,
    }),
  );
  if (!isEmbedded) {
    mkdirSync(`${daemon.root}/net.d`);
    writeFileSync(`${daemon.root}/net.d/10-bench.conflist`, JSON.stringify(conflist(at)));
  }
  const children = readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, "latin1");
  for (const pid of [String(daemon.pid), ...children.split(" ").filter(Boolean)]) {
    for (const cgroup of accounts.daemon) writeFileSync(`${cgroup}/cgroup.procs`, pid);
  }
  await daemon.cri.image.pullImage({ image: { image } });
  return [daemon, accounts];
}

async function openCandidates(): Promise<readonly Candidate[]> {
  const [embedded, embeddedAccounts] = await startCrib("embedded", 0);
  const [crib, accounts] = await startCrib("crib", 1);
  const common = { runtime: "crib", handler: "" };
  const opened: Candidate[] = [
    { ...common, cri: crib.cri, network: "conflist", accounts, socket: crib.socket },
    { ...common, cri: crib.cri, network: "host", accounts, socket: crib.socket },
    {
      ...{ ...common, cri: embedded.cri, network: "embedded", accounts: embeddedAccounts },
      socket: embedded.socket,
    },
  ];
  for (const [i, handler] of peerHandlers.entries()) {
    const own = openAccounts(handler);
    const peer = resources.use(
      await startContainerd({
        programs,
        dir: `${dir}/${handler}`,
        registryConfigDir: `${dir}/certs.d`,
        conflist: conflist(2 + i),
        cgroupProcs: own.daemon.map((cgroup) => `${cgroup}/cgroup.procs`),
      }),
    );
    await peer.cri.image.pullImage({ image: { image } });
    for (const network of ["conflist", "host"] as const) {
      const runtime = `containerd + ${handler}`;
      opened.push({ runtime, handler, cri: peer.cri, network, accounts: own, socket: peer.socket });
    }
  }
  return opened;
}

function requestOf({ cri, handler, network, accounts }: Candidate): PodRequest {
  return {
    cri,
    handler,
    image,
    logDirectory: dir,
    network: network === "host" ? NamespaceMode.NODE : NamespaceMode.POD,
    cgroupParent: accounts.pods,
  };
}

async function start(candidate: Candidate): Promise<StartedPod> {
  return await startPod(requestOf(candidate));
}

/** As a kubelet does for a pod that has ended in a job: everything is told to go, one after the other. */
async function remove({ cri }: Candidate, { containerId, podSandboxId }: StartedPod) {
  const began = performance.now();
  await cri.runtime.stopContainer({ containerId, timeout: 0n });
  await cri.runtime.removeContainer({ containerId });
  await cri.runtime.stopPodSandbox({ podSandboxId });
  await cri.runtime.removePodSandbox({ podSandboxId });
  return performance.now() - began;
}

/** The work is the same: the address answers, and a command in the container runs. */
async function check({ cri, network, runtime }: Candidate, pod: StartedPod): Promise<void> {
  const { containerId, podSandboxId } = pod;
  const cmd = ["sh", "-c", "echo $((6 * 7))"];
  const { stdout } = await cri.runtime.execSync({ containerId, cmd, timeout: 10n });
  if (Buffer.from(stdout).toString() !== "42\n") throw new Error(`${runtime}: exec is wrong`);
  if (network === "host") return;
  const { status } = await cri.runtime.podSandboxStatus({ podSandboxId });
  const hostname = status?.network?.ip ?? "";
  const answer = await Bun.connect({ hostname, port: 1, socket: { data() {} } }).then(
    () => "connected",
    (err: { code?: string }) => err.code,
  );
  if (answer !== "ECONNREFUSED") throw new Error(`${runtime}: ${hostname} is not reachable`);
}

interface Times {
  readonly first: number[];
  readonly starts: number[];
  readonly removals: number[];
}

async function measureTimes(taken: readonly Candidate[]): Promise<readonly Times[]> {
  const all = taken.map((): Times => ({ first: [], starts: [], removals: [] }));
  for (let i = -firstPods; i < rounds; i++) {
    for (const [at, candidate] of taken.entries()) {
      const pod = await start(candidate);
      if (i === -firstPods) await check(candidate, pod);
      const removalMs = await remove(candidate, pod);
      const startMs = pod.runMs + pod.createMs + pod.startMs;
      all[at]?.[i < 0 ? "first" : "starts"].push(startMs);
      if (i >= 0) all[at]?.removals.push(removalMs);
    }
  }
  return all;
}

interface Density {
  readonly perSecond: number;
  readonly cpuSeconds: number;
  readonly idleBytes: number;
  readonly fullBytes: number;
}

const callTimes: { readonly runtime: string; readonly times: CallTimes }[] = [];

/** Two at a time, as many as there are to be; all of them there; and gone again. */
async function measureDensity(candidate: Candidate): Promise<Density> {
  const { accounts } = candidate;
  const idleBytes = memoryBytes(accounts);
  const before = cpuSeconds(accounts);
  const pods: StartedPod[] = [];
  const twice = async (work: () => Promise<boolean>) => {
    const worker = async () => {
      while (await work());
    };
    await Promise.all([worker(), worker()]);
  };
  let begun = 0;
  const began = performance.now();
  await twice(async () => {
    if (begun++ >= density) return false;
    pods.push(await start(candidate));
    return true;
  });
  const perSecond = (density * 1000) / (performance.now() - began);
  await Bun.sleep(2000);
  const fullBytes = memoryBytes(accounts);
  const taken = await timeCalls(candidate.cri, pods[0]?.containerId ?? "", 200);
  callTimes.push({ runtime: candidate.runtime, times: taken });
  await twice(async () => {
    const pod = pods.pop();
    if (pod === undefined) return false;
    await remove(candidate, pod);
    return true;
  });
  await Bun.sleep(1000); // what is left of networks
  return {
    perSecond,
    cpuSeconds: (cpuSeconds(accounts) - before) / density,
    idleBytes,
    fullBytes,
  };
}

/** Where crib's time goes, from the metrics that it has of the steps of its calls. */
async function measureSteps(): Promise<readonly StepTime[]> {
  const address = "127.0.0.1:9753";
  const [{ cri, socket }, accounts] = await startCrib(
    "steps",
    4,
    `[metrics]\naddress = "${address}"\n`,
  );
  const candidate: Candidate = {
    ...{ runtime: "crib", handler: "", cri, network: "conflist", accounts, socket },
  };
  const read = async () => readSteps(await (await fetch(`http://${address}/metrics`)).text());
  for (let i = 0; i < firstPods; i++) await remove(candidate, await start(candidate));
  const before = await read();
  for (let i = 0; i < rounds; i++) await remove(candidate, await start(candidate));
  const after = await read();
  return [...after].flatMap(([name, { seconds, count }]) => {
    const earlier = before.get(name) ?? { seconds: 0, count: 0 };
    const times = count - earlier.count;
    if (times === 0) return [];
    return { name, ms: ((seconds - earlier.seconds) * 1000) / rounds, times: times / rounds };
  });
}

/** Logs, commands in containers, command lines, and starts of the daemon, in turn. */
async function measureFigures(taken: readonly Candidate[]): Promise<readonly Figure[]> {
  const workers = taken.map((one) => ({
    runtime: one.runtime,
    request: requestOf(one),
    cpuSeconds: () => cpuSecondsOf(one.accounts.daemon),
  }));
  const input = mkdtempSync("/dev/shm/crib-bench-lines-");
  resources.defer(() => rmSync(input, { recursive: true, force: true }));
  const lines = new LogLines(input, { count: 2_000_000, lineBytes: 100 });
  const crictlConfig = `${dir}/crictl.yaml`;
  writeFileSync(crictlConfig, "");
  const commandLines = taken.map((one) => {
    const endpoint = `unix://${one.socket}`;
    const isCrib = one.runtime === "crib";
    return {
      ...{ runtime: one.runtime, request: requestOf(one), socket: one.socket },
      argv: (command: readonly string[]) =>
        isCrib ? [executable, ...command] : [parts.crictl, `--config=${crictlConfig}`, ...command],
      env: {
        PATH: process.env["PATH"] ?? "",
        CRIB_DATA: dataDir,
        CRIB_SOCKET: endpoint,
        CONTAINER_RUNTIME_ENDPOINT: endpoint,
      },
    };
  });
  return [
    ...callFigures(callTimes, density),
    ...(await measureExec(workers, 2 * rounds)),
    ...(await measureLogs(workers, lines, { rounds: 3, directory: dir })),
    ...(await measureCommands(commandLines, rounds)),
    await measureStarts(3),
  ];
}

/** From the start of a daemon that has started on this node before until it serves a list; it has no pods. */
async function measureStarts(count: number): Promise<Figure> {
  const crib: number[] = [];
  const peer: number[] = [];
  const daemon = resources.use(
    await Daemon.start({ registryConfigDir: `${dir}/certs.d`, stateIn: "/dev/shm" }),
  );
  for (let i = 0; i <= count; i++) {
    await daemon.end("SIGTERM");
    crib.push(await timeUntilServing(daemon.socket, () => daemon.start()));
    let started: AsyncDisposable | undefined;
    const options = {
      ...{ programs, dir: `${dir}/start`, registryConfigDir: `${dir}/certs.d` },
      ...{ conflist: conflist(5), cgroupProcs: [] },
    };
    const ms = await timeUntilServing(`${dir}/start/containerd.sock`, async () => {
      started = await startContainerd(options);
    });
    if (i > 0) peer.push(ms); // the first one makes its directories
    await started?.[Symbol.asyncDispose]();
  }
  return {
    ...{ name: "start of the daemon to the first list", unit: "ms", aim: 1 },
    values: { crib: median(crib), "containerd + runc": median(peer) },
  };
}

/** Before and after: others may have been at work meanwhile. */
const load = [loadavg()[0] ?? 0];
const candidates = await openCandidates();
const times = await measureTimes(candidates);
const results: Result[] = candidates.map(({ runtime, network }, i) => {
  const { first = [], starts = [], removals = [] } = times[i] ?? {};
  return {
    runtime,
    network,
    firstMs: first[0] ?? Number.NaN,
    firstFiveMs: median(first),
    startMs: median(starts),
    startP99Ms: percentile(starts, 0.99),
    removalMs: median(removals),
    removalP99Ms: percentile(removals, 0.99),
  };
});
for (const [i, candidate] of candidates.entries()) {
  const result = results[i];
  if (result !== undefined && candidate.network === "conflist") {
    results[i] = { ...result, ...(await measureDensity(candidate)) };
  }
}
const figures = await measureFigures(candidates.filter(({ network }) => network === "conflist"));
const steps = await measureSteps();
printTable(
  [
    "",
    "network",
    "start",
    "p99",
    "first",
    "removal",
    "p99",
    "pods/s",
    "CPU ms",
    "MB, 0",
    "MB, full",
  ],
  results.map((one) => [
    one.runtime,
    one.network,
    ...[one.startMs, one.startP99Ms, one.firstMs, one.removalMs, one.removalP99Ms].map((ms) =>
      ms.toFixed(1),
    ),
    one.perSecond?.toFixed(1) ?? "",
    one.cpuSeconds === undefined ? "" : (one.cpuSeconds * 1000).toFixed(0),
    one.idleBytes === undefined ? "" : (one.idleBytes / 1e6).toFixed(0),
    one.fullBytes === undefined ? "" : (one.fullBytes / 1e6).toFixed(0),
  ]),
);
console.log();
const names = [...new Set(figures.flatMap(({ values: of }) => Object.keys(of)))];
printTable(
  ["", "", ...names],
  figures.map(({ name, unit, values: of }) => [
    name,
    unit,
    ...names.map((one) => of[one]?.toFixed(2) ?? ""),
  ]),
);
console.log();
printTable(
  ["step of crib's, conflist", "ms a pod", "times"],
  steps.map(({ name, ms, times: count }) => [name, ms.toFixed(2), count.toFixed(1)]),
);
if (values.write) {
  load.push(loadavg()[0] ?? 0);
  const machine = {
    load,
    cpus: `${cpus().length} x ${cpus()[0]?.model.trim()}`,
    memoryBytes: totalmem(),
    kernel: release(),
    cgroups: isVersion2 ? "version 2" : "version 1",
  };
  const measured = {
    date: new Date().toISOString().slice(0, 10),
    machine,
    versions: { crib: await cribVersion(), ...programs.versions },
    rounds,
    density,
    results,
    figures,
    steps,
  };
  writeFileSync(`${import.meta.dir}/results.json`, `${JSON.stringify(measured, undefined, 2)}\n`);
  writeFileSync(`${import.meta.dir}/RESULTS.md`, resultsPage(measured));
}

async function cribVersion(): Promise<string> {
  const commit = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"], { cwd: import.meta.dir });
  return `commit ${commit.stdout.toString().trim()}`;
}
