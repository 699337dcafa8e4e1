import { chownSync, writeFileSync } from "node:fs";
import { oomFiles } from "../../cgroup/oom.ts";
import type { Context } from "../../lib/context.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { stringifyExact } from "../../lib/json.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { isErrno } from "../../os/errno-error.ts";
import { criuConfigAnnotation, requireCriu, writeRestoreConfig } from "../criu.ts";
import { CreateRefusal } from "../monitor/create-refusal.ts";
import type {
  CreatedTask,
  RestoreSource,
  Restoring,
  Runtime,
  RuntimeFeatures,
  StreamOwner,
  Task,
  TaskRecord,
  TaskReference,
  TaskRequest,
} from "../runtime.ts";
import { type BundleFiles, bundleFiles } from "./bundle-files.ts";
import type { PreparedCreate } from "./direct/create/direct-create.ts";
import type { ContainerFacts } from "./direct/create/facts.ts";
import type { OciNode } from "./node.ts";
import { OciTask } from "./oci-task.ts";
import { ensureOomScore } from "./oom-score.ts";
import type { OciProgram } from "./program.ts";
import { deferRestore, withOwnCgroups } from "./restore-task.ts";
import { requireSharedNamespaces } from "./shared-namespaces.ts";
import { keepSwapLimit } from "./swap-limit.ts";

/**
 * Runs containers by a program with runc's command line. Monitors are the parents of the first processes, own their
 * streams and report their ends; runc's work that is known for sure is done without it (direct/).
 */
export class OciRuntime implements Runtime {
  readonly sandboxTask = "shared-pid";
  readonly #program: OciProgram;
  readonly #node: OciNode;

  constructor(program: OciProgram, node: OciNode) {
    this.#program = program;
    this.#node = node;
  }

  get name(): string {
    return this.#program.name;
  }

  get path(): string {
    return this.#program.path;
  }

  get features(): RuntimeFeatures {
    return this.#program.features;
  }

  expectContainers(): void {
    this.#node.monitors.expectContainers();
  }

  async create(ctx: Context, request: TaskRequest): Promise<CreatedTask> {
    if (request.restore !== undefined) return this.#prepareRestore(request, request.restore);
    const { id, bundleDir, cgroupPath, stdio, spec } = request;
    const bundle = bundleFiles(bundleDir);
    const written = writeConfig(bundle, this.#withSwapLimit(spec));
    const { owner, ...streams } = stdio;
    const { monitors, cgroup } = this.#node;
    const reference = { id, bundleDir, cgroupPath };
    const created = await orRefusal(
      monitors.create(ctx, {
        id,
        bundle,
        command: (files) => ({
          argv: this.#program.createArgv({ id, bundleDir, pidFile: bundle.pidFile, ...files }),
          env: this.#program.env,
          direct: this.#prepareDirect(ctx, written, { id, bundleDir, ...bundle, ...files }),
        }),
        ...streams,
        oomFiles: oomFiles(cgroup, cgroupPath),
        timeoutMs: this.#node.createMs,
      }),
    );
    if (created instanceof CreateRefusal) return await this.#refused(ctx, reference, created);
    if (request.hasSiblings && !this.#program.joinsNamespaces) {
      requireSharedNamespaces(this.#program.name, created.pid, spec);
    }
    ensureOomScore(created, spec.process.oomScoreAdj);
    if (owner !== undefined) ownPipes(bundle, owner);
    const record: TaskRecord = {
      pid: created.pid,
      startTime: created.pidStartTime,
      monitor: created.monitorId,
    };
    return new OciTask(this.#program, this.#node, { ...reference, record });
  }

  /** A task whose process comes when it is started. */
  #prepareRestore(
    { id, bundleDir, cgroupPath, spec, stdio }: TaskRequest,
    source: RestoreSource,
  ): CreatedTask {
    this.restoring?.require();
    if (this.restoring === undefined) throw failedPrecondition(`${this.name} restores nothing`);
    const bundle = bundleFiles(bundleDir);
    const mounted = withOwnCgroups(spec, this.#node.cgroup, cgroupPath);
    writeConfig(bundle, this.#withSwapLimit(mounted));
    writeRestoreConfig(bundle.criuConfig, source.stdio);
    const record = deferRestore(bundle, { source, stdio });
    return new OciTask(this.#program, this.#node, { id, bundleDir, cgroupPath, record });
  }

  /** Only by the program that is known to give a checkpoint no mount of the node but those of the spec. */
  get restoring(): Restoring | undefined {
    if (!this.#program.isEmbeddedRunc) return undefined;
    return {
      filterOf: (profile) => this.#node.filters.instructions(profile),
      require: requireCriu,
    };
  }

  /** A task without a process, whose start fails with the reason; what the program has left of it goes now. */
  async #refused(
    ctx: Context,
    reference: Omit<TaskReference, "record">,
    refusal: CreateRefusal,
  ): Promise<CreatedTask> {
    const record: TaskRecord = { pid: 0, refusal: refusal.message };
    const task = new OciTask(this.#program, this.#node, { ...reference, record });
    await task.delete(ctx);
    return task;
  }

  #withSwapLimit(spec: RuntimeSpec): RuntimeSpec {
    const { resources, ...linux } = spec.linux;
    if (resources === undefined) return spec;
    const kept = keepSwapLimit(resources, this.#program, this.#node.cgroup);
    return kept === resources ? spec : { ...spec, linux: { ...linux, resources: kept } };
  }

  #prepareDirect(
    ctx: Context,
    spec: RuntimeSpec,
    container: Omit<ContainerFacts, "runcRoot" | "createdAt">,
  ): PreparedCreate | undefined {
    const { directRoot: runcRoot } = this.#program;
    if (runcRoot === undefined) return undefined;
    const { id, bundleDir, pidFile, consoleSocket } = container;
    const facts = { id, bundleDir, pidFile, consoleSocket, runcRoot, createdAt: new Date() };
    const { directCreate } = this.#node;
    if (directCreate === undefined) ctx.count?.("runtime.delegated", 1, "configuration");
    return directCreate?.prepare(spec, facts, ctx.count);
  }

  task(reference: TaskReference): Task {
    return new OciTask(this.#program, this.#node, reference);
  }

  async list(): Promise<readonly string[]> {
    return [...this.#node.monitors.list().keys()];
  }
}

/** Everything else that can go wrong is thrown. */
async function orRefusal<T>(creation: Promise<T>): Promise<T | CreateRefusal> {
  try {
    return await creation;
  } catch (err) {
    if (err instanceof CreateRefusal) return err;
    throw err;
  }
}

/** Returns what it has written. */
function writeConfig({ config, criuConfig }: BundleFiles, spec: RuntimeSpec): RuntimeSpec {
  const annotations = { ...spec.annotations, [criuConfigAnnotation]: criuConfig };
  // Nobody reads it before the record of the container is there, and a reboot makes it worthless.
  const written = { ...spec, annotations };
  writeFileSync(config, stringifyExact(written), { mode: 0o600 });
  return written;
}

/** The program does it too, but cannot in some user namespaces. A terminal is the program's. */
function ownPipes({ pipes }: BundleFiles, { uid, gid }: StreamOwner): void {
  for (const pipe of Object.values(pipes)) {
    try {
      chownSync(pipe, uid, gid);
    } catch (err) {
      if (!isErrno(err, "ENOENT")) throw err;
    }
  }
}
