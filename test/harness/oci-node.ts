import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { readCgroupHost } from "../../src/cgroup/host.ts";
import { OpenCgroups } from "../../src/cgroup/stats/open-cgroups.ts";
import { generateContainerId, generateSandboxId } from "../../src/lib/id.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { RuntimeSpec, SpecCapabilities } from "../../src/oci/runtime-spec.ts";
import { setChildSubreaper } from "../../src/os/process/prctl.ts";
import { Monitors } from "../../src/runtime/monitor/monitors.ts";
import { DirectCreate } from "../../src/runtime/oci/direct/create/direct-create.ts";
import { DirectExec } from "../../src/runtime/oci/direct/direct-exec.ts";
import { Filters } from "../../src/runtime/oci/direct/filters.ts";
import { openOciCommand } from "../../src/runtime/oci/oci-command.ts";
import { OciRuntime } from "../../src/runtime/oci/oci-runtime.ts";
import { PreparedExecs } from "../../src/runtime/oci/prepared-execs.ts";
import type { OciProgram } from "../../src/runtime/oci/program.ts";
import { TaskExits } from "../../src/runtime/oci/task-exits.ts";
import { OutputPool } from "../../src/runtime/output-pool.ts";
import { Reaper } from "../../src/runtime/reaper.ts";
import type { SuiteNode, WantedTask } from "../../src/runtime/runtime.suite.ts";
import type { TaskRequest } from "../../src/runtime/runtime.ts";
import { ctx } from "./monitored.ts";
import { readCriLog } from "./oci-bundle.ts";
import { payloadDir } from "./payload.ts";
import { makeRootfs } from "./run-spec.ts";
import { tempDir } from "./temp-dir.ts";

const main = `${import.meta.dir}/../../src/main.ts`;

const names = ["CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE"];
const capabilities: SpecCapabilities = {
  bounding: names,
  effective: names,
  permitted: names,
  inheritable: [],
  ambient: [],
};

/** An OCI program as crib has it, with monitors of its own, over a directory of the test's own. */
export class OciSuiteNode implements SuiteNode {
  readonly ctx = ctx;
  readonly #dir: string;
  readonly #program: OciProgram;
  readonly #rootfs: string;
  readonly #sandboxId = generateSandboxId();
  readonly #reaper: Reaper;
  readonly #filters: Filters;
  readonly #direct: DirectExec;
  readonly #rollback: AsyncDisposableStack;
  #monitors: Monitors | undefined;
  #runtime: OciRuntime | undefined;

  private constructor(dir: string, program: OciProgram, rollback: AsyncDisposableStack) {
    this.#dir = dir;
    this.#program = program;
    this.#rootfs = makeRootfs(dir);
    this.#rollback = rollback;
    this.#reaper = rollback.use(new Reaper());
    this.#filters = rollback.use(new Filters(`${payloadDir()}/lib/libseccomp.so.2`));
    this.#direct = rollback.use(
      new DirectExec({
        enterPath: `${payloadDir()}/enter`,
        filters: this.#filters,
        log: silentLog,
      }),
    );
  }

  static async open(path: string, isEmbeddedRunc: boolean): Promise<OciSuiteNode> {
    setChildSubreaper();
    await using rollback = new AsyncDisposableStack();
    const { path: dir } = rollback.use(tempDir("/run"));
    const program = await openOciCommand(ctx, {
      name: "test",
      path,
      root: `${dir}/runtime`,
      systemdCgroup: false,
      withoutUnifiedPath: `${payloadDir()}/without-unified`,
      isEmbeddedRunc,
    });
    mkdirSync(`${dir}/logs`);
    const node = new OciSuiteNode(dir, program, rollback.move());
    await node.restart();
    return node;
  }

  /** Where the program keeps its state. */
  get programRoot(): string {
    return `${this.#dir}/runtime`;
  }

  get runtime(): OciRuntime {
    if (this.#runtime === undefined) throw new Error("not open");
    return this.#runtime;
  }

  async restart(): Promise<void> {
    await this.#monitors?.[Symbol.asyncDispose]();
    const exits = new TaskExits();
    const monitors = await Monitors.open(ctx, {
      stateDir: this.#dir,
      reaper: this.#reaper,
      onExit: ({ container, record }) => exits.report(container, record),
      monitorArgv: [process.execPath, main, "monitor"],
    });
    const cgroup = readCgroupHost();
    this.#monitors = monitors;
    this.#runtime = new OciRuntime(this.#program, {
      monitors,
      exits,
      reaper: this.#reaper,
      cgroup,
      cgroups: new OpenCgroups(cgroup),
      direct: { exec: this.#direct, prepared: new PreparedExecs(this.#direct, cgroup) },
      directCreate: new DirectCreate({
        createPath: `${payloadDir()}/create`,
        filters: this.#filters,
        cgroup,
        log: silentLog,
      }),
      filters: this.#filters,
      execOutput: new OutputPool(),
      createMs: 240_000,
      socketDir: this.#dir,
    });
  }

  async request(wanted: WantedTask): Promise<TaskRequest> {
    const id = generateContainerId();
    const bundleDir = `${this.#dir}/containers/${id}`;
    mkdirSync(bundleDir, { recursive: true });
    const { terminal = false, stdin = false, stdinOnce = false, memoryBytes: limit } = wanted;
    const cgroupPath = `/crib-test/${id}`;
    const spec: RuntimeSpec = {
      ociVersion: "1.0.2",
      process: {
        terminal,
        user: { uid: 0, gid: 0, additionalGids: [] },
        args: wanted.args,
        env: ["PATH=/bin"],
        cwd: "/",
        capabilities,
        noNewPrivileges: false,
        oomScoreAdj: 0,
      },
      root: { path: this.#rootfs, readonly: false },
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
        namespaces: (["mount", "ipc", "uts", "pid"] as const).map((type) => ({ type })),
        cgroupsPath: cgroupPath,
        resources: limit === undefined ? {} : { memory: { limit, swap: limit } },
        devices: [],
        maskedPaths: [],
        readonlyPaths: [],
      },
    };
    const logPath = `${this.#dir}/logs/${id}.log`;
    return {
      ...{ id, bundleDir, cgroupPath, spec, sandboxId: this.#sandboxId, role: "container" },
      stdio: { terminal, stdin, stdinOnce, logPath },
      hasSiblings: true,
    };
  }

  log({ stdio }: TaskRequest, stream: "stdout" | "stderr" = "stdout"): string {
    if (!existsSync(stdio.logPath)) return "";
    return readCriLog(readFileSync(stdio.logPath, "latin1"), stream);
  }

  renameLog({ stdio }: TaskRequest, to: string): void {
    renameSync(stdio.logPath, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#monitors?.retire(ctx);
    await this.#monitors?.[Symbol.asyncDispose]();
    await this.#rollback.disposeAsync();
  }
}
