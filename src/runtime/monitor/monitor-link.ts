import { existsSync, readdirSync } from "node:fs";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached } from "../../lib/context.ts";
import { AppError, describe, kindOf } from "../../lib/errors.ts";
import { inStep } from "../../lib/step.ts";
import type { Argv } from "../../os/process/spawn.ts";
import type { Reaper } from "../reaper.ts";
import { type AttachBudget, AttachSession, type AttachSessionEvents } from "./attach-session.ts";
import type { ExitRecord } from "./exit-record.ts";
import { Heartbeat } from "./heartbeat.ts";
import { LinkedContainers } from "./linked-containers.ts";
import {
  awaitMonitor,
  type ConnectedMonitor,
  connectMonitor,
  startMonitor,
} from "./monitor-process.ts";
import {
  type AdoptRequest,
  type AttachRequest,
  type CreateRequest,
  type MonitorRequest,
  type OpenStreamsRequest,
  protocolVersion,
} from "./monitor-protocol.ts";
import {
  type CreatedContainer,
  type ListedContainer,
  readCreatedContainer,
  readList,
} from "./monitor-responses.ts";

export interface LinkOptions {
  readonly ctx: Context;
  readonly id: string;
  readonly dir: string;
  readonly argv: Argv;
  readonly cgroupProcs: readonly string[];
  readonly reaper: Reaper;
  readonly attachBudget: AttachBudget;
  readonly onExit: (container: string, record: ExitRecord) => void;
  /** The monitor left by itself, and it had no containers. */
  readonly onGone: () => void;
}

const maxRetryMs = 5000;

/**
 * The daemon's side of one monitor, through all its lives: when the process is killed, a successor is started in
 * the same directory, takes over the containers, and gets back what the daemon kept for it.
 */
export class MonitorLink implements Disposable {
  readonly containers: LinkedContainers;
  readonly #options: LinkOptions;
  readonly #closing = new AbortController();
  #creating = 0;
  #monitor: ConnectedMonitor | undefined;
  #heartbeat: Heartbeat | undefined;
  #connecting: Promise<void> = Promise.resolve();
  #background: Promise<unknown> = Promise.resolve();

  constructor(options: LinkOptions) {
    this.#options = options;
    this.containers = new LinkedContainers(options.reaper);
  }

  get id(): string {
    return this.#options.id;
  }

  get dir(): string {
    return this.#options.dir;
  }

  /** Connected, and of this version. */
  get isOpen(): boolean {
    return this.#monitor?.isCurrent ?? false;
  }

  get load(): number {
    return this.containers.size + this.#creating;
  }

  /** Settles when nothing runs in the background any more; after disposing. */
  get settled(): Promise<unknown> {
    return this.#background;
  }

  async start(ctx: Context): Promise<void> {
    const { argv, dir, cgroupProcs } = this.#options;
    const monitor = await inStep(ctx, "monitor.start", () => {
      const started = startMonitor(argv, dir, cgroupProcs);
      return awaitMonitor(ctx, started, dir, this.#events());
    });
    await this.#attach({ ...monitor, isCurrent: true });
  }

  /** Connects to the monitor that is there, or starts its successor. False when there is nothing to go on with. */
  async resume(ctx: Context): Promise<boolean> {
    const { dir } = this.#options;
    const monitor = await connectMonitor(dir, this.#events());
    if (monitor !== undefined) await this.#attach(monitor);
    else if (recordsIn(dir).length > 0) await this.start(ctx);
    else return false;
    if (!this.isOpen) this.#inBackground(() => this.#retire());
    return true;
  }

  async #retire(): Promise<void> {
    await this.#monitor?.client.request({ op: "retire" });
  }

  /** Like `resume`; where that fails it is tried again and again, and what the monitor had counts as running. */
  async recover(ctx: Context): Promise<boolean> {
    try {
      return await this.resume(ctx);
    } catch (err) {
      ctx.log.error("monitor takeover failed", { monitor: this.id, err: describe(err) });
      for (const container of recordsIn(this.dir)) this.containers.add(container);
      this.#connecting = this.#replace();
      this.#inBackground(() => this.#connecting);
      return true;
    }
  }

  /**
   * Asks the monitor, or its successor when it is being replaced, also when it goes before it has responded: what is
   * asked may be asked twice.
   */
  async request(ctx: Context, request: MonitorRequest): Promise<unknown> {
    const monitor = await this.#present(ctx);
    try {
      return await abortable(monitor.client.request(request), ctx.signal);
    } catch (err) {
      if (monitor === this.#monitor || kindOf(err) !== "unavailable") throw err;
      const { client } = await this.#present(ctx);
      return await abortable(client.request(request), ctx.signal);
    }
  }

  async #present(ctx: Context): Promise<ConnectedMonitor> {
    await abortable(this.#connecting, ctx.signal);
    return this.#connected();
  }

  #connected(): ConnectedMonitor {
    if (this.#monitor !== undefined) return this.#monitor;
    throw new AppError(`monitor ${this.id} is not there`, { kind: "unavailable" });
  }

  /** Makes pipes and log of a container that others run. */
  async openStreams(request: OpenStreamsRequest): Promise<void> {
    this.#creating++;
    try {
      const monitor = this.#connected();
      const created = readCreatedContainer(await monitor.client.request(request));
      const { container, dir } = request;
      this.containers.add(container);
      this.containers.hold({ ...created, container, dir, isAdopted: true }, monitor.pid);
    } finally {
      this.#creating--;
    }
  }

  async create(request: CreateRequest): Promise<CreatedContainer> {
    this.#creating++;
    try {
      const monitor = this.#connected();
      const created = readCreatedContainer(await monitor.client.request(request));
      const { container, dir } = request;
      // Ours to forget, also where it cannot be held.
      this.containers.add(container);
      this.containers.hold({ ...created, container, dir, isAdopted: false }, monitor.pid);
      return created;
    } finally {
      this.#creating--;
    }
  }

  /** Of a container that lives, and that no monitor knows any more. */
  async adopt(ctx: Context, request: AdoptRequest): Promise<void> {
    const monitor = this.#monitor;
    const adopted = readCreatedContainer(await this.request(ctx, request));
    if (monitor === undefined || monitor !== this.#monitor) return; // its successor lists it
    const listed = { ...adopted, container: request.container, dir: request.dir, isAdopted: true };
    this.containers.hold(listed, monitor.pid);
    this.#inBackground(() => this.#handOver(listed, monitor));
  }

  /** `isStdinOnce`: the container's stdin ends with this client's. */
  async attach(
    ctx: Context,
    request: AttachRequest,
    options: { readonly isStdinOnce: boolean } & Partial<AttachSessionEvents>,
  ): Promise<AttachSession> {
    await abortable(this.#connecting, ctx.signal);
    const { container } = request;
    return await AttachSession.open(
      ctx,
      `${this.dir}/monitor.sock`,
      request,
      {
        resize: async (size) => {
          if (options.resize !== undefined) return await options.resize(size);
          await this.request(detached(ctx), { op: "resize", container, ...size });
        },
        stdinEnded: () => {
          if (!options.isStdinOnce) return;
          this.containers.closeStdin(container);
          options.stdinEnded?.();
        },
      },
      this.#options.attachBudget,
    );
  }

  async forget(ctx: Context, container: string): Promise<void> {
    await this.request(ctx, { op: "forget", container });
    this.containers.forget(container);
  }

  /** Takes over what the monitor has: after a start of either side. */
  async #attach(monitor: ConnectedMonitor): Promise<void> {
    using attempt = new DisposableStack();
    const { client } = attempt.adopt(monitor, (failed) => failed.client[Symbol.dispose]());
    // From now on: one that says hello and then nothing more would keep the daemon from starting.
    const heartbeat = attempt.use(
      new Heartbeat(
        () => client.request({ op: "hello", version: protocolVersion }),
        () => this.#stuck(monitor),
      ),
    );
    const list = readList(await client.request({ op: "list" }));
    for (const listed of list) this.containers.hold(listed, monitor.pid);
    client.requireOpen();
    // Not before: a monitor that goes while it is attached is for the caller to replace, not for #lost.
    attempt.move();
    this.#monitor = monitor;
    this.#heartbeat?.[Symbol.dispose]();
    this.#heartbeat = heartbeat;
    for (const listed of list) {
      if (listed.exited !== undefined) this.#exited(listed.container, listed.exited);
      else this.#inBackground(() => this.#handOver(listed, monitor));
    }
  }

  #handOver(listed: ListedContainer, monitor: ConnectedMonitor): Promise<void> {
    return this.containers.handOver(listed, monitor.client, () => this.#monitor === monitor);
  }

  #exited(container: string, record: ExitRecord): void {
    this.containers.end(container, record);
    this.#options.onExit(container, record);
  }

  #events() {
    return {
      onExit: (container: string, record: ExitRecord) => this.#exited(container, record),
      onClose: () => this.#lost(),
    };
  }

  /** Those who wait for it learn of it now: a process in an uninterruptible call may take its time to die. */
  #stuck(monitor: ConnectedMonitor): void {
    if (this.#closing.signal.aborted) return;
    this.#options.ctx.log.error("unresponsive monitor killed", { monitor: this.id });
    monitor.client.kill();
    monitor.client[Symbol.dispose]();
    if (this.#monitor === monitor) this.#lost();
  }

  #lost(): void {
    if (this.#monitor === undefined || this.#closing.signal.aborted) return;
    this.#monitor = undefined;
    this.#heartbeat?.[Symbol.dispose]();
    this.#connecting = this.#replace();
    this.#inBackground(() => this.#connecting);
  }

  async #replace(): Promise<void> {
    const { ctx, onGone } = this.#options;
    for (
      let waitMs = 50;
      !this.#closing.signal.aborted;
      waitMs = Math.min(2 * waitMs, maxRetryMs)
    ) {
      try {
        if (await inStep(ctx, "monitor.replace", () => this.resume(detached(ctx)))) {
          ctx.log.warn("monitor replaced", { monitor: this.id, containers: this.containers.size });
        } else onGone();
        return;
      } catch (err) {
        ctx.log.error("monitor replacement failed", { monitor: this.id, err: describe(err) });
        await abortable(Bun.sleep(waitMs), this.#closing.signal).catch(() => {});
      }
    }
  }

  /** What nobody waits for: failures are logged here, and `settled` waits for the end. */
  #inBackground(work: () => Promise<void>): void {
    const done = work().catch((err) => {
      if (this.#closing.signal.aborted) return;
      this.#options.ctx.log.warn("monitor repair failed", { monitor: this.id, err: describe(err) });
    });
    this.#background = Promise.all([this.#background, done]);
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    this.#heartbeat?.[Symbol.dispose]();
    this.#monitor?.client[Symbol.dispose]();
    this.containers[Symbol.dispose]();
  }
}

/** The containers that a monitor has written down. */
function recordsIn(dir: string): readonly string[] {
  const records = `${dir}/containers`;
  if (!existsSync(records)) return [];
  return readdirSync(records)
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -".json".length));
}
