import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readCgroupHost } from "../../src/cgroup/host.ts";
import { type Context, detached } from "../../src/lib/context.ts";
import { generateContainerId } from "../../src/lib/id.ts";
import { openLog, silentLog } from "../../src/lib/log.ts";
import type { RuntimeSpec } from "../../src/oci/runtime-spec.ts";
import { mount, umount } from "../../src/os/mount/mount.ts";
import { pidfdOpen, pidfdSendSignal } from "../../src/os/process/pidfd.ts";
import { setChildSubreaper } from "../../src/os/process/prctl.ts";
import { Monitors } from "../../src/runtime/monitor/monitors.ts";
import { OutputPool } from "../../src/runtime/output-pool.ts";
import { Reaper } from "../../src/runtime/reaper.ts";
import type { RecoverOptions, Task, TaskRequest } from "../../src/runtime/runtime.ts";
import type { ShimEvents } from "../../src/runtime/shim/events.ts";
import type { ShimSettings } from "../../src/runtime/shim/locate-shim.ts";
import {
  openShimEvents,
  openShimRuntime,
  shimNamespaceOf,
} from "../../src/runtime/shim/open-shim.ts";
import type { ShimRuntime } from "../../src/runtime/shim/shim-runtime.ts";
import { processes } from "./daemon.ts";
import { readCriLog, testProcess } from "./oci-bundle.ts";
import { findRunc, makeRootfs } from "./run-spec.ts";
import { tempDir } from "./temp-dir.ts";

const main = `${import.meta.dir}/../../src/main.ts`;
const log =
  process.env["CRIB_TEST_LOG"] === "1"
    ? openLog((line) => process.stderr.write(line), { level: "debug", format: "text" })
    : silentLog;
export const ctx: Context = { signal: new AbortController().signal, log };

export const shimDefaults: Omit<ShimSettings, "path"> = {
  configType: "",
  configPath: "",
  config: "",
};

export interface PodOptions {
  readonly args?: readonly string[];
  readonly sandboxId: string;
  readonly isSandbox?: boolean;
  readonly terminal?: boolean;
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly memory?: number;
}

/** A runtime behind a shim over a directory of the test's own, with this process in the daemon's place. */
export class ShimmedNode implements AsyncDisposable {
  readonly stateDir: string;
  readonly #settings: ShimSettings;
  readonly #commandMs: number | undefined;
  readonly #rollback = new AsyncDisposableStack();
  readonly #rootfs: string;
  readonly #network: string;
  readonly #tasks = new Map<string, { task: Task; request: TaskRequest }>();
  readonly #reaper: Reaper;
  monitors!: Monitors;
  runtime!: ShimRuntime;
  #events!: ShimEvents;

  private constructor(settings: ShimSettings, commandMs: number | undefined) {
    this.#commandMs = commandMs;
    setChildSubreaper();
    this.#settings = settings;
    this.stateDir = this.#rollback.use(tempDir("/run")).path;
    mkdirSync(`${this.stateDir}/containers`);
    mkdirSync(`${this.stateDir}/logs`);
    this.#rootfs = makeRootfs(this.stateDir);
    this.#network = this.#rollback.adopt(makeNetwork(`${this.stateDir}/network`), removeNetwork);
    this.#reaper = this.#rollback.use(new Reaper());
  }

  static async open(
    settings: Partial<ShimSettings> & { readonly path: string },
    commandMs?: number,
  ) {
    const node = new ShimmedNode({ ...shimDefaults, ...settings }, commandMs);
    await node.#open();
    return node;
  }

  async #open(): Promise<void> {
    this.monitors = await Monitors.open(ctx, {
      stateDir: this.stateDir,
      reaper: this.#reaper,
      onExit: () => {},
      monitorArgv: [process.execPath, main, "monitor"],
    });
    this.#events = await openShimEvents(ctx, this.stateDir);
    this.runtime = await openShimRuntime(
      ctx,
      "test",
      this.#settings,
      {
        stateDir: this.stateDir,
        namespace: shimNamespaceOf(this.stateDir),
        events: this.#events,
        monitors: this.monitors,
        cgroup: readCgroupHost(),
        output: new OutputPool(),
        binary: process.execPath,
        ...(this.#commandMs === undefined ? {} : { commandMs: this.#commandMs }),
      },
      { binary: findRunc(), root: `${this.stateDir}/runc`, systemdCgroup: false },
    );
  }

  /** Everything that a daemon has in memory is lost, and made anew. */
  async restartDaemon(): Promise<void> {
    await this.#close();
    await this.#open();
  }

  async #close(): Promise<void> {
    this.runtime[Symbol.dispose]();
    this.#events[Symbol.dispose]();
    await this.monitors[Symbol.asyncDispose]();
  }

  async create(options: PodOptions): Promise<Task> {
    const request = this.request(options);
    const task = await this.runtime.create(ctx, request);
    this.#tasks.set(request.id, { task, request });
    return task;
  }

  /** A bundle with its root file system, and all else that a task is made from. */
  request(options: PodOptions): TaskRequest {
    const { sandboxId, isSandbox = false } = options;
    const id = isSandbox ? sandboxId : generateContainerId();
    const bundleDir = `${this.stateDir}/containers/${id}`;
    mkdirSync(`${bundleDir}/rootfs`, { recursive: true });
    const [upper, work] = ["upper", "work"].map((name) => `${this.stateDir}/layers/${id}/${name}`);
    for (const dir of [upper, work]) mkdirSync(dir ?? "", { recursive: true });
    const layers = `lowerdir=${this.#rootfs},upperdir=${upper},workdir=${work}`;
    mount("overlay", `${bundleDir}/rootfs`, "overlay", 0, layers);
    const request: TaskRequest = {
      ...{ id, bundleDir, cgroupPath: `/crib-test/${id}` },
      spec: specFor(`${bundleDir}/rootfs`, `/crib-test/${id}`, this.#network, options),
      stdio: {
        terminal: options.terminal ?? false,
        stdin: options.stdin ?? false,
        stdinOnce: options.stdinOnce ?? false,
        logPath: isSandbox ? "" : `${this.stateDir}/logs/${id}.log`,
      },
      sandboxId,
      role: isSandbox ? "sandbox" : "container",
      hasSiblings: false,
    };
    this.#tasks.set(id, { task: this.runtime.task({ ...request, record: undefined }), request });
    return request;
  }

  hasLog(id: string): boolean {
    return existsSync(`${this.stateDir}/logs/${id}.log`);
  }

  async sandbox(options: Pick<PodOptions, "memory"> = {}): Promise<Task> {
    const task = await this.create({
      ...options,
      sandboxId: generateContainerId(),
      isSandbox: true,
      args: ["/bin/sleep", "100000"],
    });
    await task.start(ctx);
    return task;
  }

  async run(sandboxId: string, script: string, options: Partial<PodOptions> = {}): Promise<Task> {
    const task = await this.create({ sandboxId, args: ["/bin/sh", "-c", script], ...options });
    await task.start(ctx);
    return task;
  }

  /** The same task as a daemon finds it that has been started anew. */
  again({ id, record }: Task): Task {
    const request = this.#tasks.get(id)?.request;
    if (request === undefined) throw new Error(`no task ${id}`);
    const task = this.runtime.task({ ...request, record });
    this.#tasks.set(id, { task, request });
    return task;
  }

  /** What a new daemon knows of a task. */
  recovery(id: string): RecoverOptions {
    const request = this.#tasks.get(id)?.request;
    if (request === undefined) throw new Error(`no task ${id}`);
    return { stdio: request.stdio, isStarted: true };
  }

  log(id: string, stream: "stdout" | "stderr" = "stdout"): string {
    return readCriLog(readFileSync(`${this.stateDir}/logs/${id}.log`, "latin1"), stream);
  }

  /** Pids of what runs in a bundle of this node: shims. */
  shims(): readonly number[] {
    const namespace = shimNamespaceOf(this.stateDir);
    return processes()
      .filter(({ argv }) => argv[1] === "-namespace" && argv[2] === namespace)
      .map(({ pid }) => pid);
  }

  /** The shim that was started for a task. */
  shimOf(id: string): number {
    const found = processes().find(({ argv }) => argv[1] === "-namespace" && argv.includes(id));
    if (found === undefined) throw new Error(`no shim of ${id}`);
    return found.pid;
  }

  kill(pid: number, signal = 9): void {
    using pidfd = pidfdOpen(pid);
    pidfdSendSignal(pidfd.fd, signal);
  }

  async discard(id: string): Promise<void> {
    const entry = this.#tasks.get(id);
    if (entry === undefined) return;
    this.#tasks.delete(id);
    const { bundleDir } = entry.request;
    try {
      await entry.task.delete(detached(ctx, 60_000));
      await entry.task.forget(detached(ctx));
    } finally {
      try {
        umount(`${bundleDir}/rootfs`, 2);
      } catch {
        // The shim has done it.
      }
      rmSync(bundleDir, { recursive: true, force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The pod's own last.
    for (const id of [...this.#tasks.keys()].reverse()) await this.discard(id);
    const ids = readMonitorPids(this.stateDir);
    await this.#close();
    for (const pid of ids) process.kill(pid, "SIGKILL");
    if (process.env["CRIB_TEST_KEEP"] === "1") return;
    await this.#rollback.disposeAsync();
  }
}

function readMonitorPids(stateDir: string): readonly number[] {
  return processes()
    .filter(
      ({ argv }) =>
        argv.includes("monitor") && argv.some((word) => word.startsWith(`${stateDir}/monitors/`)),
    )
    .map(({ pid }) => pid);
}

/** The network namespace of all pods, with nothing but a loopback interface that is up. */
function makeNetwork(path: string): string {
  writeFileSync(path, "");
  const { exitCode, stderr } = Bun.spawnSync([
    "unshare",
    `--net=${path}`,
    "ip",
    "link",
    "set",
    "lo",
    "up",
  ]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return path;
}

function removeNetwork(path: string): void {
  umount(path, 2);
}

function specFor(
  rootfs: string,
  cgroupsPath: string,
  network: string,
  options: PodOptions,
): RuntimeSpec {
  const { memory, isSandbox, sandboxId } = options;
  return {
    ociVersion: "1.0.2",
    annotations: {
      "io.kubernetes.cri.container-type": isSandbox ? "sandbox" : "container",
      "io.kubernetes.cri.sandbox-id": sandboxId,
    },
    process: {
      ...testProcess(options.args ?? ["/bin/sh"]),
      terminal: options.terminal ?? false,
    },
    root: { path: rootfs, readonly: false },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: [] },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["newinstance", "ptmxmode=0666"],
      },
    ],
    linux: {
      namespaces: [
        ...["mount", "ipc", "uts", "pid"].map((type) => ({ type })),
        { type: "network", path: network },
      ],
      cgroupsPath,
      resources: memory === undefined ? {} : { memory: { limit: memory, swap: memory } },
    },
  } as unknown as RuntimeSpec;
}
