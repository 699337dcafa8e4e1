import { existsSync, rmSync, statfsSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError, describe, invalidArgument } from "../../lib/errors.ts";
import { isId } from "../../lib/id.ts";
import { asInteger, asObject, asString, parseJson } from "../../lib/json.ts";
import { type CommandResult, runCommand } from "../../os/process/command.ts";
import { childEnv } from "../../os/process/role.ts";
import type { Argv } from "../../os/process/spawn.ts";
import { endCommands } from "../commands-under-way.ts";
import { criuFailure } from "../criu.ts";
import { parseFeatures, unknownFeatures } from "../features.ts";
import { releaseGvisorRoot } from "../gvisor-root.ts";
import type { RuntimeFeatures } from "../runtime.ts";
import { findRuntimeError, oneLine } from "../runtime-log.ts";
import { deleteDirectly } from "./direct/direct-delete.ts";
import { finishStart, startDirectly } from "./direct/direct-start.ts";
import type {
  CreateArguments,
  ExecArguments,
  OciProgram,
  RestoreArguments,
  RuntimeState,
} from "./program.ts";

export interface OciCommandOptions {
  readonly name: string;
  /** Absolute path of runc, crun or another program with the same command line. */
  readonly path: string;
  /** Where the program keeps its state (`--root`). */
  readonly root: string;
  readonly systemdCgroup: boolean;
  /** For start, delete, update and state. */
  readonly timeoutMs?: number;
  /** The program that crun is started through on a node with hybrid cgroups (embed/pause/without-unified.c). */
  readonly withoutUnifiedPath: string;
  /** Before those of crib: flags of the program itself. */
  readonly args?: readonly string[];
  readonly isEmbeddedRunc?: boolean;
}

const defaultTimeoutMs = 60_000;
/** It only has to tell what it can do, and the daemon's start waits for it. */
const featuresMs = 10_000;
/** Each of two attempts; then its state is removed without it. */
const deleteMs = 10_000;
/** The caller has a time limit of its own; memory is written at the disk's pace. */
const checkpointMs = 3_600_000;
const maxOutputBytes = 1 << 20;
const CGROUP2_SUPER_MAGIC = 0x6367_7270;
const statuses = ["creating", "created", "running", "stopped", "paused"] as const;

/** A handler that runs a program with runc's command line. Asks it once what it can do. */
export async function openOciCommand(
  ctx: Context,
  options: OciCommandOptions,
): Promise<OciProgram> {
  if (!options.path.startsWith("/")) throw invalidArgument(`runtime ${options.path}: not absolute`);
  return new OciCommand(options, await readFeatures(ctx, options));
}

class OciCommand implements OciProgram {
  readonly name: string;
  readonly path: string;
  readonly features: RuntimeFeatures;
  readonly env: Readonly<Record<string, string>>;
  readonly isEmbeddedRunc: boolean;
  readonly losesZeroSwap: boolean;
  readonly joinsNamespaces: boolean;
  readonly directRoot: string | undefined;
  readonly #root: string;
  readonly #prefix: Argv;
  readonly #timeoutMs: number;
  /** systemd keeps units of containers, which runc has to end. */
  readonly #deletesDirectly: boolean;
  /** A container without a directory below `#root` is not known to it: nobody has to be asked. */
  readonly #keepsDirectories: boolean;

  constructor(options: OciCommandOptions, features: RuntimeFeatures) {
    this.name = options.name;
    this.path = options.path;
    this.features = features;
    this.env = isNamed(options.path, "runc") ? runcEnv : childEnv;
    this.isEmbeddedRunc = options.isEmbeddedRunc ?? false;
    this.losesZeroSwap = options.systemdCgroup && isNamed(options.path, "runc");
    this.#keepsDirectories = isNamed(options.path, "runc") || isNamed(options.path, "crun");
    this.joinsNamespaces = this.#keepsDirectories;
    this.#deletesDirectly = this.isEmbeddedRunc && !options.systemdCgroup;
    this.directRoot = this.#deletesDirectly ? options.root : undefined;
    this.#root = options.root;
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    this.#prefix = [
      ...programArgv(options),
      ...(options.args ?? []),
      ...["--root", options.root, "--log-format", "json"],
      ...(options.systemdCgroup ? ["--systemd-cgroup"] : []),
    ];
  }

  createArgv({ id, bundleDir, pidFile, logFile, consoleSocket }: CreateArguments): Argv {
    return [
      ...this.#prefix,
      ...["--log", logFile, "create", "--bundle", bundleDir, "--pid-file", pidFile],
      ...(consoleSocket === undefined ? [] : ["--console-socket", consoleSocket]),
      checkId(id),
    ];
  }

  restoreArgv(options: RestoreArguments): Argv {
    const { id, bundleDir, pidFile, logFile, consoleSocket, imageDir, workDir, lsmProfile } =
      options;
    return [
      ...this.#prefix,
      ...["--log", logFile, "restore", "--detach", "--bundle", bundleDir, "--pid-file", pidFile],
      ...["--image-path", imageDir, "--work-path", workDir, "--file-locks"],
      // The request's cgroup, not those that the checkpoint names.
      ...["--manage-cgroups-mode", "ignore"],
      ...(lsmProfile === undefined ? [] : ["--lsm-profile", lsmProfile]),
      ...(consoleSocket === undefined ? [] : ["--shell-job", "--console-socket", consoleSocket]),
      checkId(id),
    ];
  }

  execArgv(options: ExecArguments): Argv {
    const { id, processFile, pidFile, logFile, consoleSocket, detach } = options;
    return [
      ...this.#prefix,
      ...["--log", logFile, "exec", "--process", processFile, "--pid-file", pidFile],
      ...(consoleSocket === undefined ? [] : ["--console-socket", consoleSocket]),
      ...(detach ? ["--detach"] : []),
      checkId(id),
    ];
  }

  async start(ctx: Context, id: string): Promise<void> {
    if (this.isEmbeddedRunc && (await startDirectly(ctx, this.#stateOf(id), this.#timeoutMs)))
      return;
    await this.#checked(ctx, ["start", checkId(id)]);
  }

  async delete(ctx: Context, id: string): Promise<void> {
    if (this.#deletesDirectly && deleteDirectly(this.#stateOf(id))) return;
    if (this.#keepsDirectories && !this.#hasState(id)) return;
    // Without --force first: that one sleeps 100 ms even when there is nothing left to kill.
    for (const force of [[], ["--force"]]) {
      try {
        const args = ["delete", ...force, checkId(id)];
        const { exitCode } = await this.#run(ctx, args, { timeoutMs: deleteMs });
        if (!(await this.#stillKnows(ctx, id, exitCode === 0))) break;
      } catch (err) {
        ctx.signal.throwIfAborted();
        ctx.log.warn("runtime state not deleted", { handler: this.name, err: describe(err) });
      }
    }
    if (isNamed(this.path, "runsc")) releaseGvisorRoot(this.#root);
    // Also of a program that says it has deleted it, and has not.
    if (!this.#hasState(id)) return;
    rmSync(this.#stateOf(id), { recursive: true, force: true });
    ctx.log.warn("runtime state removed without the runtime", { handler: this.name });
  }

  async interrupt(id: string, steps: readonly ("create" | "start" | "restore")[]): Promise<void> {
    await endCommands(this.path, checkId(id), steps);
  }

  async update(ctx: Context, id: string, resources: object): Promise<void> {
    await this.#checked(
      ctx,
      // For "-" crun opens /dev/stdin, which is udev's to make: a bare node has none.
      ["update", "--resources", "/proc/self/fd/0", checkId(id)],
      { stdin: JSON.stringify(resources) },
    );
  }

  async checkpoint(
    ctx: Context,
    id: string,
    options: { readonly imageDir: string; readonly workDir: string; readonly terminal: boolean },
  ): Promise<void> {
    const { imageDir, workDir, terminal } = options;
    const result = await this.#run(
      ctx,
      [
        ...["checkpoint", "--image-path", imageDir, "--work-path", workDir],
        ...["--leave-running", "--tcp-established", "--ext-unix-sk", "--file-locks"],
        ...(terminal ? ["--shell-job"] : []),
        checkId(id),
      ],
      { timeoutMs: checkpointMs },
    );
    if (result.exitCode !== 0) throw criuFailure(workDir, this.#failure("checkpoint", result));
  }

  async state(ctx: Context, id: string): Promise<RuntimeState | undefined> {
    if (this.#keepsDirectories && !this.#hasState(id)) return undefined;
    const result = await this.#run(ctx, ["state", checkId(id)]);
    if (result.exitCode === 0) return this.#noticeStart(id, parseState(result.stdout));
    // Of a program that keeps its state we do not know how, that is how it says that it does not know the container.
    if (!this.#keepsDirectories || !this.#hasState(id)) return undefined;
    throw this.#failure("state", result);
  }

  #noticeStart(id: string, state: RuntimeState): RuntimeState {
    const mayRun = this.isEmbeddedRunc && state.status === "created";
    if (!mayRun || !finishStart(this.#stateOf(id), state.pid)) return state;
    return { ...state, status: "running" };
  }

  async #stillKnows(ctx: Context, id: string, isDeleted: boolean): Promise<boolean> {
    if (this.#keepsDirectories) return this.#hasState(id);
    if (isDeleted) return false;
    const { exitCode } = await this.#run(ctx, ["state", checkId(id)], { timeoutMs: deleteMs });
    return exitCode === 0;
  }

  #hasState(id: string): boolean {
    return existsSync(this.#stateOf(id));
  }

  /** Where runc and crun alike keep what they know of a container. */
  #stateOf(id: string): string {
    return `${this.#root}/${checkId(id)}`;
  }

  async #checked(
    ctx: Context,
    args: readonly [string, ...string[]],
    options: { readonly stdin?: string } = {},
  ): Promise<void> {
    const result = await this.#run(ctx, args, options);
    if (result.exitCode !== 0) throw this.#failure(args[0], result);
  }

  #run(
    ctx: Context,
    args: readonly string[],
    options: { readonly stdin?: string; readonly timeoutMs?: number } = {},
  ): Promise<CommandResult> {
    return runCommand(ctx, [...this.#prefix, ...args], {
      env: this.env,
      timeoutMs: this.#timeoutMs,
      maxOutputBytes,
      ...options,
    });
  }

  #failure(step: string, { exitCode, stderr }: CommandResult): AppError {
    const reason = findRuntimeError(stderr) ?? oneLine(stderr.trim().split("\n").at(-1) ?? "");
    const message = reason === "" ? `exit code ${exitCode}` : reason;
    return new AppError(`${this.path.split("/").at(-1)} ${step}: ${message}`, { kind: "internal" });
  }
}

/** Its commands run for milliseconds: the threads of Go's runtime would cost a tenth more than they bring. */
const runcEnv = { ...childEnv, GOMAXPROCS: "1" };

/** crun or crun-1.14, but not runsc for runc. */
function isNamed(path: string, name: string): boolean {
  return path.split("/").at(-1)?.startsWith(name) ?? false;
}

/** The program, in a mount namespace without the unified hierarchy where it needs that. */
function programArgv({ path, withoutUnifiedPath }: OciCommandOptions): Argv {
  return isNamed(path, "crun") && isHybrid() ? [withoutUnifiedPath, path] : [path];
}

/** Whether cgroup v1 controllers stand beside a v2 hierarchy (systemd's "hybrid" mode). crun refuses that. */
function isHybrid(): boolean {
  try {
    return statfsSync("/sys/fs/cgroup/unified").type === CGROUP2_SUPER_MAGIC;
  } catch {
    return false;
  }
}

async function readFeatures(ctx: Context, options: OciCommandOptions): Promise<RuntimeFeatures> {
  const { path, args = [] } = options;
  const result = await runCommand(ctx, [path, ...args, "features"], {
    env: childEnv,
    timeoutMs: featuresMs,
    maxOutputBytes,
  });
  if (result.exitCode !== 0) return unknownFeatures; // an older program without the command
  try {
    return parseFeatures(result.stdout, `${path} features`);
  } catch (err) {
    ctx.log.warn("runtime features not read", { handler: options.name, err: describe(err) });
    return unknownFeatures;
  }
}

function parseState(output: Uint8Array): RuntimeState {
  const object = asObject(
    parseJson(output, "runtime state", { maxBytes: maxOutputBytes }),
    "state",
  );
  const text = asString(object["status"], "state.status");
  const status = statuses.find((known) => known === text);
  if (status === undefined) throw invalidArgument("state.status: unknown");
  return { status, pid: object["pid"] === undefined ? 0 : asInteger(object["pid"], "state.pid") };
}

/** Ids become arguments and directory names of the program: exactly what lib/id.ts generates. */
function checkId(id: string): string {
  if (!isId(id)) throw invalidArgument("runtime: not a container id");
  return id;
}
