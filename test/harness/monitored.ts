import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { type Context, detached } from "../../src/lib/context.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { RuntimeSpec } from "../../src/oci/runtime-spec.ts";
import { pidfdOpen, pidfdSendSignal } from "../../src/os/process/pidfd.ts";
import { setChildSubreaper } from "../../src/os/process/prctl.ts";
import type { ExitRecord } from "../../src/runtime/monitor/exit-record.ts";
import { Monitors } from "../../src/runtime/monitor/monitors.ts";
import type { DirectCreate } from "../../src/runtime/oci/direct/create/direct-create.ts";
import { openOciCommand } from "../../src/runtime/oci/oci-command.ts";
import type { OciProgram } from "../../src/runtime/oci/program.ts";
import { OutputPool } from "../../src/runtime/output-pool.ts";
import { Reaper } from "../../src/runtime/reaper.ts";
import { findBuilt } from "./built.ts";
import { processes } from "./daemon.ts";
import {
  makeTestContainer,
  readCriLog,
  type TestContainer,
  type TestContainerOptions,
} from "./oci-bundle.ts";
import { findRunc, makeRootfs } from "./run-spec.ts";
import { tempDir } from "./temp-dir.ts";

const main = `${import.meta.dir}/../../src/main.ts`;
export const ctx: Context = { signal: new AbortController().signal, log: silentLog };

/** Monitors and a runtime over a directory of the test's own, with this process in the daemon's place. */
export class MonitoredNode implements AsyncDisposable {
  readonly stateDir: string;
  readonly handler: OciProgram;
  readonly reaper: Reaper;
  readonly output = new OutputPool();
  readonly exits = new Map<string, ExitRecord>();
  readonly #rootfs: string;
  readonly #containers: TestContainer[] = [];
  readonly #rollback: AsyncDisposableStack;
  monitors: Monitors;
  /** For containers that have a spec of their own. */
  directCreate: DirectCreate | undefined;

  private constructor(
    stateDir: string,
    rootfs: string,
    handler: OciProgram,
    rollback: AsyncDisposableStack,
  ) {
    this.stateDir = stateDir;
    this.handler = handler;
    this.#rootfs = rootfs;
    this.#rollback = rollback;
    this.reaper = rollback.use(new Reaper());
    this.monitors = undefined as unknown as Monitors;
  }

  static async open(runtimePath: string = findRunc()): Promise<MonitoredNode> {
    setChildSubreaper();
    await using rollback = new AsyncDisposableStack();
    const { path } = rollback.use(tempDir("/run"));
    const handler = await openOciCommand(ctx, {
      name: "test",
      path: runtimePath,
      root: `${path}/runc`,
      systemdCgroup: false,
      withoutUnifiedPath: findBuilt("pause", "without-unified"),
      isEmbeddedRunc: runtimePath === findRunc(),
    });
    const node = new MonitoredNode(path, makeRootfs(path), handler, rollback.move());
    await node.restartDaemon();
    return node;
  }

  /** Connections closed and made anew, as when the daemon is restarted. */
  async restartDaemon(): Promise<void> {
    await (this.monitors as Monitors | undefined)?.[Symbol.asyncDispose]();
    this.monitors = await Monitors.open(ctx, {
      stateDir: this.stateDir,
      reaper: this.reaper,
      onExit: ({ container, record }) => this.exits.set(container, record),
      monitorArgv: [process.execPath, main, "monitor"],
    });
  }

  async create(
    options: Omit<TestContainerOptions, "rootfs"> & {
      readonly rootfs?: string;
      /** Instead of the one that is written for the other options. */
      readonly spec?: (written: {
        readonly rootfs: string;
        readonly cgroup: string;
      }) => RuntimeSpec;
      readonly stdin?: boolean;
      readonly stdinOnce?: boolean;
    },
  ) {
    const rootfs = options.rootfs ?? this.#rootfs;
    const container = makeTestContainer(this.stateDir, { ...options, rootfs });
    const spec = options.spec?.({ rootfs, cgroup: container.cgroup });
    if (spec !== undefined)
      writeFileSync(`${container.bundle.dir}/config.json`, JSON.stringify(spec));
    this.#containers.push(container);
    const memory = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map((dir) => dir + container.cgroup);
    const created = await this.monitors.create(ctx, {
      id: container.id,
      command: (files) => ({
        argv: this.handler.createArgv({
          id: container.id,
          bundleDir: container.bundle.dir,
          pidFile: container.bundle.pidFile,
          ...files,
        }),
        env: this.handler.env,
        direct:
          spec === undefined || this.handler.directRoot === undefined
            ? undefined
            : this.directCreate?.prepare(spec, {
                id: container.id,
                bundleDir: container.bundle.dir,
                pidFile: container.bundle.pidFile,
                consoleSocket: files.consoleSocket,
                runcRoot: this.handler.directRoot,
                createdAt: new Date(),
              }),
      }),
      bundle: container.bundle,
      terminal: options.terminal ?? false,
      stdin: options.stdin ?? false,
      stdinOnce: options.stdinOnce ?? false,
      logPath: container.logPath,
      oomFiles: memory.flatMap((dir) => [`${dir}/memory.oom_control`, `${dir}/memory.events`]),
    });
    return { ...container, ...created };
  }

  async run(...args: readonly string[]) {
    const container = await this.create({ args });
    await this.handler.start(ctx, container.id);
    return container;
  }

  async exit(id: string, timeoutMs = 120_000): Promise<ExitRecord> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const record = this.exits.get(id);
      if (record !== undefined) return record;
      if (performance.now() > deadline) throw new Error("the container did not end");
      await Bun.sleep(5);
    }
  }

  log({ logPath }: TestContainer, stream: "stdout" | "stderr" = "stdout"): string {
    return existsSync(logPath) ? readCriLog(readFileSync(logPath, "latin1"), stream) : "";
  }

  monitorPid(monitorId: string): number {
    const dir = `${this.stateDir}/monitors/${monitorId}`;
    const found = processes().find(({ argv }) => argv.includes("monitor") && argv.includes(dir));
    if (found === undefined) throw new Error("no monitor");
    return found.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { id, cgroup } of this.#containers) {
      await this.handler.delete(detached(ctx), id);
      await this.monitors.forget(ctx, id);
      for (const dir of new Bun.Glob("/sys/fs/cgroup/{,*}").scanSync({ onlyFiles: false })) {
        if (existsSync(`${dir}${cgroup}`)) throw new Error(`left over: ${dir}${cgroup}`);
      }
    }
    const monitorIds = new Set(
      [...this.monitors.list().values()].map(({ monitorId }) => monitorId),
    );
    await this.monitors[Symbol.asyncDispose]();
    for (const id of monitorIds) this.kill(this.monitorPid(id));
    await this.#rollback.disposeAsync();
  }

  kill(pid: number, signal = 9): void {
    using pidfd = pidfdOpen(pid);
    pidfdSendSignal(pidfd.fd, signal);
  }
}
