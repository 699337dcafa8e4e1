import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached } from "../../lib/context.ts";
import { AppError, describe, notFound } from "../../lib/errors.ts";
import { roleArgv } from "../../os/process/role.ts";
import type { Argv } from "../../os/process/spawn.ts";
import type { Reaper } from "../reaper.ts";
import type { AttachOptions, LogLimits } from "../runtime.ts";
import type { AttachSession, AttachSessionEvents } from "./attach-session.ts";
import type { ExitRecord } from "./exit-record.ts";
import { MonitorLink } from "./monitor-link.ts";
import { maxContainers } from "./monitor-protocol.ts";

export interface MonitorsOptions {
  /** `<state>`: the monitors live in `monitors/` below it. */
  readonly stateDir: string;
  readonly reaper: Reaper;
  /**
   * A container has ended; its record is on disk and its log complete. Comes again for the same container when a
   * daemon, or a monitor, starts anew: it must be idempotent.
   */
  readonly onExit: (exit: { readonly container: string; readonly record: ExitRecord }) => void;
  /** cgroup.procs files into which monitors put themselves. */
  readonly cgroupProcs?: readonly string[];
  /** The monitor role's command line, when it is not this program's own. */
  readonly monitorArgv?: Argv;
}

/** A container that others run (a shim): they open `stdin`, `stdout` and `stderr` in `dir` by their names. */
export interface OpenStreamsOptions extends Omit<ContainerOptions, "oomFiles"> {
  readonly dir: string;
  readonly exitFile: string;
}

interface ContainerOptions {
  readonly id: string;
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  /** Empty: nobody wants the output. */
  readonly logPath: string;
  readonly podLogDirectory?: string | undefined;
  readonly logLimits?: LogLimits | undefined;
  readonly oomFiles: readonly string[];
}

/** A command that makes a container's first process: the monitor runs it and becomes that process's parent. */
export interface CreateCommand {
  readonly argv: Argv;
  readonly env: Readonly<Record<string, string>>;
  /** What is tried first: a program that does the same (embed/pause/create.c), and its plan. */
  readonly direct?: { readonly program: string; readonly planFile: string } | undefined;
}

export interface CreateOptions extends ContainerOptions {
  /** Leaves the pid in the bundle's `pidFile`; its JSON log lines in `logFile` say why it failed. */
  readonly command: (files: {
    readonly logFile: string;
    /** Where the monitor listens for the master of a terminal, which the command sends. */
    readonly consoleSocket: string | undefined;
  }) => CreateCommand;
  readonly bundle: { readonly dir: string; readonly exitFile: string; readonly pidFile: string };
  readonly timeoutMs?: number;
}

export interface AdoptOptions extends ContainerOptions {
  readonly bundle: { readonly dir: string; readonly exitFile: string };
  readonly process: { readonly pid: number; readonly startTime: number };
}

export interface MonitorAttachOptions extends AttachOptions {
  /** Of a container whose terminal somebody else has; the monitor's otherwise. */
  readonly resize?: AttachSessionEvents["resize"];
  /** The container's stdin has ended, with this client's. */
  readonly stdinEnded?: AttachSessionEvents["stdinEnded"];
}

export interface MonitoredProcess {
  readonly pid: number;
  readonly pidStartTime: number;
  readonly monitorId: string;
}

const retirePauseMs = 10;
const defaultCreateMs = 240_000;
/** Output that waits for slow attached clients, of all containers. */
const maxAttachBytes = 64 * 1024 * 1024;

/**
 * All monitors of this node. They outlive this object: disposing closes connections and nothing else. The process
 * must be a sub-reaper (os/process/prctl.ts) before the first monitor starts: so the containers of a killed monitor come
 * to us, a new one goes on with them, and no exit status is lost.
 */
export class Monitors implements AsyncDisposable {
  readonly #ctx: Context;
  readonly #options: MonitorsOptions;
  readonly #links = new Map<string, MonitorLink>();
  readonly #attachBudget = { left: maxAttachBytes };
  #starting: Promise<MonitorLink> | undefined;

  private constructor(ctx: Context, options: MonitorsOptions) {
    this.#ctx = ctx;
    this.#options = options;
  }

  /** Finds the monitors that live, and starts successors of those that were killed meanwhile. */
  static async open(ctx: Context, options: MonitorsOptions): Promise<Monitors> {
    const monitors = new Monitors(ctx, options);
    const dir = `${options.stateDir}/monitors`;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    await Promise.all(
      readdirSync(dir).map(async (id) => {
        const link = monitors.#link(id);
        if (!(await link.recover(ctx))) monitors.#drop(id);
      }),
    );
    return monitors;
  }

  /** The containers that have a monitor, with the end of those that have ended. */
  list(): ReadonlyMap<
    string,
    { readonly monitorId: string; readonly exited: ExitRecord | undefined }
  > {
    const all = [...this.#links.values()].flatMap((link) =>
      link.containers.list().map(([id, exited]) => [id, { monitorId: link.id, exited }] as const),
    );
    return new Map(all);
  }

  /** Starts a monitor in the background where none has room, so that a container that comes soon need not wait for it. */
  expectContainers(): void {
    this.#withRoom(detached(this.#ctx)).catch((err) =>
      this.#ctx.log.debug("monitor not started ahead", { err: describe(err) }),
    );
  }

  /**
   * Makes a container, its program not started yet, and its log file. Waits for the OCI runtime also when the
   * context is cancelled, so that nothing is left half made behind the caller's clean-up (`forget`, and the
   * handler's `delete`).
   */
  async create(ctx: Context, options: CreateOptions): Promise<MonitoredProcess> {
    ctx.signal.throwIfAborted();
    const { id, bundle, terminal } = options;
    const link = await this.#withRoom(ctx);
    // Not in the container's directory: a socket's path has at most 107 bytes.
    const consoleSocket = terminal ? `${link.dir}/${id.slice(0, 16)}.tty` : undefined;
    const runtimeLog = `${bundle.dir}/runtime.log`;
    const { argv, env, direct } = options.command({ logFile: runtimeLog, consoleSocket });
    const created = await link.create({
      op: "create",
      container: id,
      terminal,
      stdin: options.stdin,
      stdinOnce: options.stdinOnce,
      dir: bundle.dir,
      logPath: options.logPath,
      podLogDirectory: options.podLogDirectory,
      logLimits: options.logLimits,
      exitFile: bundle.exitFile,
      oomFiles: options.oomFiles,
      createArgv: argv,
      env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      cwd: bundle.dir,
      pidFile: bundle.pidFile,
      consoleSocket,
      runtimeLog,
      timeoutMs: options.timeoutMs ?? defaultCreateMs,
      direct,
    });
    if (created.leftToRuntime !== undefined) {
      const { leftToRuntime: reason } = created;
      ctx.count?.("runtime.delegated", 1, `program: ${reason}`);
      ctx.log.debug("container creation delegated to the runtime", { container: id, reason });
    }
    ctx.signal.throwIfAborted();
    return { pid: created.pid, pidStartTime: created.startTime, monitorId: link.id };
  }

  /**
   * Makes the pipes and the log of a container that others run. A terminal is theirs as well: here it is a pipe each way.
   * `ended` reports how it has ended, `forget` closes everything.
   */
  async openStreams(ctx: Context, { id, ...options }: OpenStreamsOptions): Promise<void> {
    ctx.signal.throwIfAborted();
    const link = await this.#withRoom(ctx);
    await link.openStreams({ op: "openStreams", ...options, container: id, oomFiles: [] });
  }

  /** When this returns, the log of a container of `openStreams` is complete and its record on disk. Idempotent. */
  async ended(
    ctx: Context,
    container: string,
    record: ExitRecord,
    options: { readonly drainMs: number },
  ): Promise<void> {
    const { drainMs } = options;
    await this.#linkOf(container).request(ctx, { op: "ended", container, record, drainMs });
  }

  /** Gives a container that lives to a monitor: the one that it had has lost what it knew of it. */
  async adopt(ctx: Context, container: AdoptOptions): Promise<void> {
    const link = await this.#withRoom(ctx);
    const { id, bundle, process, ...plan } = container;
    const { dir, exitFile } = bundle;
    await link.adopt(ctx, { op: "adopt", container: id, dir, exitFile, ...plan, ...process });
  }

  /** The new log file is there when this returns. */
  async reopenLog(ctx: Context, container: string): Promise<void> {
    await this.#linkOf(container).request(ctx, { op: "reopenLog", container });
  }

  async resize(
    ctx: Context,
    container: string,
    size: { readonly columns: number; readonly rows: number },
  ): Promise<void> {
    await this.#linkOf(container).request(ctx, { op: "resize", container, ...size });
  }

  /** The streams of a container from now on. A terminal's output is stdout. */
  async attach(
    ctx: Context,
    container: string,
    options: MonitorAttachOptions,
  ): Promise<AttachSession> {
    const { stdin, stdout, stderr } = options;
    const request = { op: "attach", container, stdin, stdout, stderr } as const;
    return await this.#linkOf(container).attach(ctx, request, options);
  }

  /** The container has been removed: closes what is open for it. Idempotent. */
  async forget(ctx: Context, container: string): Promise<void> {
    for (const link of this.#links.values()) {
      if (link.containers.has(container)) await link.forget(ctx, container);
    }
  }

  /** For a node that is to run nothing more: every monitor leaves. Resolves when they have; none may have a container. */
  async retire(ctx: Context): Promise<void> {
    for (const link of this.#links.values()) await link.request(ctx, { op: "retire" });
    while (this.#links.size > 0) await abortable(Bun.sleep(retirePauseMs), ctx.signal);
  }

  /** A monitor that takes a further container, which it counts at once. */
  async #withRoom(ctx: Context): Promise<MonitorLink> {
    for (;;) {
      for (const link of this.#links.values()) {
        if (link.isOpen && link.load < maxContainers) return link;
      }
      this.#starting ??= this.#start().finally(() => {
        this.#starting = undefined;
      });
      await this.#starting;
      ctx.signal.throwIfAborted();
    }
  }

  async #start(): Promise<MonitorLink> {
    const id = randomBytes(8).toString("hex");
    const link = this.#link(id);
    try {
      await link.start(detached(this.#ctx));
      this.#ctx.log.info("monitor started", { monitor: id });
      return link;
    } catch (cause) {
      this.#drop(id);
      throw new AppError(`start monitor ${id}`, { kind: "unavailable", cause });
    }
  }

  #link(id: string): MonitorLink {
    const { stateDir, reaper, onExit, cgroupProcs = [], monitorArgv } = this.#options;
    const link = new MonitorLink({
      ctx: this.#ctx,
      id,
      dir: `${stateDir}/monitors/${id}`,
      argv: monitorArgv ?? roleArgv("monitor"),
      cgroupProcs,
      reaper,
      attachBudget: this.#attachBudget,
      onExit: (container, record) => onExit({ container, record }),
      onGone: () => this.#drop(id),
    });
    this.#links.set(id, link);
    return link;
  }

  /** It left, with nothing in its care. */
  #drop(id: string): void {
    this.#links.get(id)?.[Symbol.dispose]();
    this.#links.delete(id);
    try {
      rmSync(`${this.#options.stateDir}/monitors/${id}`, { recursive: true, force: true });
    } catch (err) {
      this.#ctx.log.warn("monitor directory not removed", {
        monitor: id,
        cleanup_err: describe(err),
      });
    }
  }

  #linkOf(container: string): MonitorLink {
    for (const link of this.#links.values()) if (link.containers.has(container)) return link;
    throw notFound(`no monitor has container ${container}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const links = [...this.#links.values()];
    this.#links.clear();
    for (const link of links) link[Symbol.dispose]();
    await Promise.all(links.map((link) => link.settled));
  }
}
