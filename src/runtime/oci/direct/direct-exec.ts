import { readFileSync } from "node:fs";
import { AppError, describe } from "../../../lib/errors.ts";
import type { Log } from "../../../lib/log.ts";
import type { RuntimeSpec, SpecSeccomp } from "../../../oci/runtime-spec.ts";
import { ErrnoError, errno } from "../../../os/errno-error.ts";
import { sealedFile } from "../../../os/file/memfd.ts";
import type { OwnedFd } from "../../../os/file/owned-fd.ts";
import { exitCodeOf, findProcess } from "../../../os/process/pidfd.ts";
import { processStartTime } from "../../../os/process/process-stat.ts";
import { spawnProcess } from "../../../os/process/spawn.ts";
import { bornAt, isChildSince } from "../../process-tree.ts";
import type { Reaper } from "../../reaper.ts";
import { type Report, ReportPipe } from "../../report.ts";
import { ExecProcess, killProcess } from "../exec/exec-process.ts";
import { enterArguments } from "./arguments.ts";
import type { Filter, Filters } from "./filters.ts";
import { type ExecPlan, planExec } from "./plan.ts";

export interface DirectExecOptions {
  /** The program `enter`. */
  readonly enterPath: string;
  /** Not closed here. */
  readonly filters: Filters;
  readonly log: Log;
}

/** How to run programs in one container; good as long as its spec is, and `isReady` says so. */
export interface PreparedExec {
  readonly plan: ExecPlan;
  readonly filter: Filter | undefined;
}

export interface DirectExecRequest {
  readonly prepared: PreparedExec;
  /** The container's first process. */
  readonly init: { readonly pid: number; readonly pidStartTime: number };
  readonly args: readonly string[];
}

/** It takes the newest of the system calls that `enter` cannot do without, and no container has a say in it. */
const newestStep = "close other descriptors";

/**
 * Runs programs in containers without an OCI runtime, for a tenth of what that costs, and only where the result is the
 * same as `runc exec` gives. Whatever does not work is left to the runtime, which also says why it does not.
 */
export class DirectExec implements Disposable {
  readonly #contents: Uint8Array;
  readonly #filters: Filters;
  readonly #log: Log;
  /** A copy that nobody can change: a container may find it as /proc/self/exe. */
  #program: OwnedFd;
  #isUseful = true;

  constructor({ enterPath, filters, log }: DirectExecOptions) {
    this.#contents = readFileSync(enterPath);
    this.#program = sealedFile("enter", this.#contents);
    this.#filters = filters;
    this.#log = log;
  }

  /** `undefined` for a container in which the runtime has to run programs. */
  prepare(
    spec: RuntimeSpec,
    container: { readonly id: string; readonly cgroupFiles: readonly string[] },
  ): PreparedExec | undefined {
    const plan = planExec(spec, container);
    const filter = plan?.seccomp && this.#filterOf(plan.seccomp);
    if (plan === undefined || (plan.seccomp !== undefined && filter === undefined)) {
      this.#log.debug("direct exec disabled", { container: container.id });
      return undefined;
    }
    return { plan: { ...plan, seccomp: undefined }, filter };
  }

  /** False when the filter had to make room for those of other containers: it is to be prepared again. */
  isReady({ filter }: PreparedExec): boolean {
    return filter === undefined || this.#filters.renew(filter);
  }

  #filterOf(profile: SpecSeccomp): Filter | undefined {
    try {
      return this.#filters.get(profile);
    } catch (err) {
      this.#log.warn("seccomp filter delegated to the runtime", { err: describe(err) });
      return undefined;
    }
  }

  /**
   * The program runs when this returns, and is our child. `undefined`: nothing of it has run, and the runtime is to be
   * asked. Everything is killed when the signal aborts before.
   */
  async start(
    request: DirectExecRequest,
    stdio: readonly [stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd],
    reaper: Reaper,
    signal: AbortSignal,
  ): Promise<ExecProcess | undefined> {
    if (!this.#isUseful || !this.isReady(request.prepared)) return undefined;
    using init = openInit(request.init);
    if (init === undefined) return undefined;
    using report = new ReportPipe();
    using helper = this.#spawn(request, [...stdio, report.writeEnd, init], reaper);
    if (helper === undefined) return undefined;
    const since = bornAt(helper.pid);
    report.writeEnd[Symbol.dispose]();
    // It may end before the helper does, which gets no more time than its container.
    using _child = reaper.keepComing(() => report.read().pid);
    let exitCode: number;
    try {
      exitCode = exitCodeOf(await helper.endedOrKilled(signal));
    } catch (err) {
      const { pid } = report.read();
      if (isChildSince(pid, since)) await killProcess(pid);
      throw err;
    }
    const told = report.read();
    // The child has the pipe too until it is the program, and with it whoever in the container may trace it.
    if (told.pid !== 0 && !isChildSince(told.pid, since)) {
      throw new AppError(`exec: ${told.pid} was reported, and is not our child`, {
        kind: "internal",
      });
    }
    return await this.#judge(exitCode, told, reaper, signal);
  }

  /** `undefined` where the arguments or the environment are too long, for one. */
  #spawn(
    { prepared: { plan, filter }, args }: DirectExecRequest,
    fds: readonly OwnedFd[],
    reaper: Reaper,
  ): ExecProcess | undefined {
    const [stdin, stdout, stderr, ...others] = [...fds, ...(filter ? [filter.file] : [])];
    if (!stdin || !stdout || !stderr) throw new TypeError("descriptors are missing");
    try {
      const pid = spawnProcess({
        path: `/proc/${process.pid}/fd/${this.#program.fd}`,
        argv: enterArguments(plan, filter, args),
        env: plan.env,
        cwd: "/",
        stdio: [stdin.fd, stdout.fd, stderr.fd, ...others.map(({ fd }) => fd)],
      });
      return new ExecProcess(pid, reaper);
    } catch (err) {
      if (!(err instanceof ErrnoError)) throw err;
      // Somebody has it open for writing, whose only effect is to keep us from executing it.
      if (err.errno === errno.ETXTBSY) this.#renewProgram();
      this.#log.debug("exec delegated to the runtime", { err: describe(err) });
      return undefined;
    }
  }

  async #judge(
    exitCode: number,
    { pid, failure }: Report,
    reaper: Reaper,
    signal: AbortSignal,
  ): Promise<ExecProcess | undefined> {
    if (failure === undefined && exitCode === 0) return new ExecProcess(pid, reaper);
    if (failure === undefined && pid !== 0) {
      await killProcess(pid);
      throw new AppError("exec: interrupted before the command was known to run", {
        kind: "internal",
      });
    }
    if (pid !== 0) {
      using child = new ExecProcess(pid, reaper);
      await child.endedOrKilled(signal);
    }
    const { step, errno: code } = failure ?? { step: "enter", errno: 0 };
    this.#log.debug("exec delegated to the runtime", { step, errno: code });
    if (step === newestStep && code === errno.ENOSYS) {
      this.#isUseful = false;
      this.#log.warn("direct exec disabled", { err: "Linux 5.9 is needed" });
    }
    return undefined;
  }

  #renewProgram(): void {
    using _old = this.#program;
    this.#program = sealedFile("enter", this.#contents);
  }

  [Symbol.dispose](): void {
    this.#program[Symbol.dispose]();
  }
}

/** `undefined` when it has ended, also while it is not reaped. */
function openInit({ pid, pidStartTime }: DirectExecRequest["init"]): OwnedFd | undefined {
  const pidfd = findProcess(pid);
  if (pidfd === undefined || processStartTime(pid) === pidStartTime) return pidfd;
  pidfd[Symbol.dispose]();
  return undefined;
}
