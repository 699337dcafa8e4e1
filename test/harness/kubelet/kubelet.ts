import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { parts } from "../../parts/paths.ts";
import { eventually } from "../eventually.ts";
import type { ApiServer } from "./api-server.ts";
import { type Node, nodeAddress } from "./node.ts";

/** A container as the kubelet's API tells of it, as far as tests look at it. */
export interface ContainerReport {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly containerID: string;
  readonly imageID: string;
  readonly state: ContainerStateReport;
  readonly lastState: ContainerStateReport;
}

export interface ContainerStateReport {
  readonly running?: { readonly startedAt: string };
  readonly waiting?: { readonly reason: string; readonly message?: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason: string;
    readonly message?: string;
    readonly startedAt: string;
    readonly finishedAt: string;
  };
}

export interface PodReport {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly initContainerStatuses?: readonly ContainerReport[];
    readonly containerStatuses?: readonly ContainerReport[];
  };
}

/** A static pod, as in a manifest. */
export interface PodManifest {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: object;
}

/** With what a kubelet differs from the one in README, so that a test can wait for what it does. */
const quick = {
  address: "127.0.0.1",
  readOnlyPort: 10255,
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: "AlwaysAllow" },
  enableControllerAttachDetach: false,
  registerNode: false,
  failSwapOn: false,
  // Below zero it would need a capability that not every test machine gives.
  oomScoreAdj: 0,
  evictionHard: { "memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
  mergeDefaultEvictionSettings: false,
  imageGCHighThresholdPercent: 99,
  imageGCLowThresholdPercent: 98,
  fileCheckFrequency: "1s",
  syncFrequency: "5s",
  volumeStatsAggPeriod: "5s",
  crashLoopBackOff: { maxContainerRestartPeriod: "2s" },
  containerLogMaxSize: "20Ki",
  containerLogMaxFiles: 50,
  containerLogMonitorInterval: "3s",
} as const;

/** Of the release that the tests are made for; with CRIB_TEST_KUBELET_NEXT=1 of the next one. */
const program = process.env["CRIB_TEST_KUBELET_NEXT"] === "1" ? parts.kubeletNext : parts.kubelet;

/** What serves CRI. */
interface Runtime {
  readonly socket: string;
}

/** A kubelet, without an API server unless a test has one: its pods are manifests in a directory. In the namespaces of a test file. */
export class Kubelet implements AsyncDisposable {
  readonly url = "https://127.0.0.1:10250";
  readonly rootDir: string;
  readonly #dir: string;
  readonly #manifests: string;
  readonly #runtime: Runtime;
  readonly #node: Node;
  #process: Bun.Subprocess | undefined;
  #starts = 0;

  readonly #apiServer: ApiServer | undefined;

  /** `dir` is of the caller's making and removing, and holds everything that it writes. */
  constructor(dir: string, node: Node, runtime: Runtime, apiServer?: ApiServer) {
    this.#apiServer = apiServer;
    this.#dir = dir;
    this.#node = node;
    this.#runtime = runtime;
    this.rootDir = `${dir}/kubelet`;
    this.#manifests = `${dir}/manifests`;
    mkdirSync(this.rootDir);
    mkdirSync(this.#manifests);
  }

  /** Starts it (again) and waits until it is healthy. `config` is as in README. */
  async start(config: object, featureGates: Readonly<Record<string, boolean>>): Promise<void> {
    const file = `${this.#dir}/kubelet.json`;
    const own = {
      containerRuntimeEndpoint: `unix://${this.#runtime.socket}`,
      staticPodPath: this.#manifests,
      cgroupRoot: this.#node.cgroupRoot,
      volumePluginDir: `${this.#dir}/volume-plugins`,
      featureGates,
    };
    // So that an API server need not read protobuf.
    const ofServer = this.#apiServer && { contentType: "application/json" };
    writeFileSync(file, JSON.stringify({ ...config, ...quick, ...own, ...ofServer }));
    const kubeconfig = `${this.#dir}/kubeconfig`;
    if (this.#apiServer !== undefined) writeFileSync(kubeconfig, this.#apiServer.kubeconfig);
    this.#process = Bun.spawn(
      [
        ...this.#node.kubeletArgv,
        // A test run that is killed leaves no kubelet behind.
        ...["setpriv", "--pdeathsig", "KILL", program, `--config=${file}`, "--v=4"],
        ...[`--root-dir=${this.rootDir}`, `--cert-dir=${this.rootDir}/pki`],
        ...(this.#apiServer === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
        ...[`--node-ip=${nodeAddress}`, "--hostname-override=node"],
      ],
      {
        env: { PATH: process.env["PATH"] ?? "" },
        stdio: ["ignore", "ignore", Bun.file(this.#logFile(++this.#starts))],
      },
    );
    try {
      await Promise.race([
        eventually(async () => await this.get("/healthz"), 300_000),
        this.#process.exited.then((code) => Promise.reject(new Error(`exit code ${code}`))),
      ]);
    } catch (cause) {
      throw new Error(`the kubelet is not healthy:\n${this.log.slice(-20_000)}`, { cause });
    }
  }

  /** Ends it as an operator or a crash does; its pods go on. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.#process?.kill(signal);
    await this.#process?.exited;
    this.#process = undefined;
  }

  #logFile(start: number): string {
    return `${this.#dir}/kubelet-${start}.log`;
  }

  /** What it has logged in all its lives. */
  get log(): string {
    const files = Array.from({ length: this.#starts }, (_, i) => this.#logFile(i + 1));
    return files
      .filter((file) => existsSync(file))
      .map((file) => readFileSync(file, "utf8"))
      .join("");
  }

  apply(pod: PodManifest): void {
    const manifest = { apiVersion: "v1", kind: "Pod", ...pod };
    writeFileSync(this.#manifestOf(pod.metadata.name), JSON.stringify(manifest));
  }

  remove(name: string): void {
    rmSync(this.#manifestOf(name));
  }

  #manifestOf(name: string): string {
    return `${this.#manifests}/${name}.json`;
  }

  /** An answer of its API; anything but success throws. */
  async get(path: string, method: "GET" | "POST" = "GET"): Promise<string> {
    const options = { method, tls: { rejectUnauthorized: false } };
    const answer = await fetch(`${this.url}${path}`, options);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text;
  }

  async pods(): Promise<readonly PodReport[]> {
    return (JSON.parse(await this.get("/pods")) as { items: PodReport[] | null }).items ?? [];
  }

  /** A static pod has its node's name behind its own. */
  async pod(name: string): Promise<PodReport> {
    const found = (await this.pods()).find(({ metadata }) => metadata.name === `${name}-node`);
    if (found === undefined) throw new Error(`the kubelet knows of no pod ${name}`);
    return found;
  }

  async container(pod: string, name: string): Promise<ContainerReport> {
    const { status } = await this.pod(pod);
    const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
    const found = all.find((one) => one.name === name);
    if (found === undefined) throw new Error(`the kubelet knows of no container ${name} of ${pod}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }
}
