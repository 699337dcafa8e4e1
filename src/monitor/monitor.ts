import { AppError, describe, failedPrecondition, notFound } from "../lib/errors.ts";
import { setNonblocking } from "../os/file/io.ts";
import { type ExitStatus, pidfdGetfd, pidfdOpen } from "../os/process/pidfd.ts";
import { setWindowSize } from "../os/terminal.ts";
import { type ExitRecord, writeExitRecord } from "../runtime/monitor/exit-record.ts";
import {
  type AdoptRequest,
  type AttachRequest,
  type CreateRequest,
  type EndedRequest,
  type MonitorRequest,
  maxContainers,
  type OpenStreamsRequest,
  planOf,
  protocolVersion,
} from "../runtime/monitor/monitor-protocol.ts";
import type { CreatedContainer, ListedContainer } from "../runtime/monitor/monitor-responses.ts";
import { attach, checkAttach } from "./attach/attach.ts";
import type { HandedOver, Respond } from "./connection.ts";
import type { MonitoredContainer } from "./container.ts";
import { createContainer } from "./create.ts";
import { makeExitRecord, reapEnded, watchProcess } from "./exit.ts";
import type { Loop } from "./loop.ts";
import { readOomKilled } from "./oom.ts";
import { type ContainerRecord, removeRecord, writeRecord } from "./record.ts";
import { openStreams, restoreContainer } from "./restore.ts";
import { SealedPrograms } from "./sealed-programs.ts";
import type { UnfinishedOutput } from "./stdio/journal.ts";
import type { Pump, PumpedOutput } from "./stdio/pump.ts";

/** A terminal's last bytes come a moment after its process ended; the end of a terminal shows it, or this time. */
const terminalDrainMs = 200;

export interface MonitorDeps {
  readonly loop: Loop;
  readonly pump: Pump;
  /** Where the records of the containers are. */
  readonly recordDir: string;
  readonly report: (message: string) => void;
  /** To every daemon that is connected. */
  readonly broadcast: (message: object) => void;
  /** Something changed that may be the reason to stay. */
  readonly onIdle: () => void;
}

type TakeDescriptor = Extract<MonitorRequest, { readonly op: "takeDescriptor" }>;

/** The containers of one monitor, and what a daemon may ask about them. */
export class Monitor {
  readonly #deps: MonitorDeps;
  readonly #containers = new Map<string, MonitoredContainer>();
  readonly #programs = new SealedPrograms();
  /** By id, the process that makes it. */
  readonly #creating = new Map<string, number>();
  #isRetired = false;

  constructor(deps: MonitorDeps) {
    this.#deps = deps;
  }

  get isEmpty(): boolean {
    return this.#containers.size + this.#creating.size === 0;
  }

  /** Whether a container of it, or one that is being made, has not ended. */
  get isWatching(): boolean {
    const live = [...this.#containers.values()].some(({ exited }) => exited === undefined);
    return live || this.#creating.size > 0;
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** The children that somebody here waits for. */
  ownChildren(): ReadonlySet<number> {
    const first = [...this.#containers.values()].map(({ process: { pid } }) => pid);
    return new Set([...first, ...this.#creating.values()]);
  }

  dispatch(
    request: MonitorRequest,
    respond: Respond,
    refuse: (err: unknown) => void,
    handOver: () => HandedOver,
  ): void {
    if (request.op === "create") this.#create(request, respond, refuse);
    else if (request.op === "ended") this.#ended(request, respond);
    else if (request.op === "attach") this.#attach(request, respond, handOver);
    else respond(this.#perform(request));
  }

  #perform(
    request: Exclude<MonitorRequest, CreateRequest | AttachRequest | EndedRequest>,
  ): unknown {
    switch (request.op) {
      case "hello":
        return { version: protocolVersion, pid: process.pid };
      case "list":
        return [...this.#containers.values()].map(listed);
      case "adopt":
        return this.#adopt(request);
      case "openStreams":
        return this.#openStreams(request);
      case "reopenLog":
        return this.#get(request.container).log?.reopen();
      case "resize":
        return this.#resize(request.container, request.columns, request.rows);
      case "exitedElsewhere":
        return this.#end(this.#get(request.container), request.status);
      case "takeDescriptor":
        return this.#takeDescriptor(request);
      case "forget":
        return this.#forget(request.container);
      case "retire":
        return this.#retire();
    }
  }

  /** Goes on with the containers of a monitor that was killed, and with the output that it had in hand. */
  restore(records: readonly ContainerRecord[], unfinished: UnfinishedOutput | undefined): void {
    for (const record of records) {
      const { container: id } = record.plan;
      this.#reporting(`restore container ${id}`, () => {
        const container = restoreContainer(record);
        if (unfinished?.container === id && container.log !== undefined) {
          const stream = container.loggedStream(unfinished.stream);
          // A container whose log is broken goes on all the same.
          this.#reporting(`log of ${id}`, () => this.#deps.pump.finish(unfinished, stream));
        }
        this.#take(container);
      });
    }
  }

  #reporting(step: string, run: () => void): void {
    try {
      run();
    } catch (err) {
      this.#deps.report(`${step}: ${describe(err)}`);
    }
  }

  #create(request: CreateRequest, respond: Respond, refuse: (err: unknown) => void): void {
    const id = request.container;
    if (this.#isRetired) throw failedPrecondition("this monitor takes no new container");
    if (this.#containers.has(id) || this.#creating.has(id)) {
      throw new AppError(`container ${id} is here already`, { kind: "already-exists" });
    }
    if (this.#containers.size + this.#creating.size >= maxContainers) {
      throw new AppError("this monitor is full", { kind: "resource-exhausted" });
    }
    createContainer(this.#deps.loop, request, this.#programs, {
      process: (pid) => this.#creating.set(id, pid),
      created: (container, leftToRuntime) => {
        this.#creating.delete(id);
        this.#save(container);
        this.#take(container);
        respond({ ...created(container), leftToRuntime });
      },
      failed: (err) => {
        this.#creating.delete(id);
        removeRecord(this.#deps.recordDir, id);
        refuse(err);
        this.#deps.onIdle();
      },
    });
  }

  #adopt({ pid, startTime, ...request }: AdoptRequest): CreatedContainer {
    const known = this.#containers.get(request.container);
    if (known !== undefined) return created(known);
    const container = restoreContainer({ plan: planOf(request), pid, startTime });
    this.#save(container);
    this.#take(container);
    return created(container);
  }

  #openStreams(request: OpenStreamsRequest): CreatedContainer {
    const id = request.container;
    if (this.#isRetired) throw failedPrecondition("this monitor takes no new container");
    if (this.#containers.has(id)) {
      throw new AppError(`container ${id} is here already`, { kind: "already-exists" });
    }
    const container = openStreams(planOf(request));
    try {
      this.#save(container);
    } catch (err) {
      container[Symbol.dispose]();
      throw err;
    }
    this.#take(container);
    return created(container);
  }

  #ended({ container: id, record, drainMs }: EndedRequest, respond: Respond): void {
    const container = this.#get(id);
    const end = () => {
      this.#endWith(container, record);
      respond(null);
    };
    if (container.exited !== undefined || container.outputs.size === 0) end();
    else container.whenDrained(this.#deps.loop, drainMs, end);
  }

  #attach(request: AttachRequest, respond: Respond, handOver: () => HandedOver): void {
    const container = this.#get(request.container);
    checkAttach(container);
    respond(null);
    attach(this.#deps.loop, container, request, handOver(), () => {
      try {
        this.#save(container);
      } catch (err) {
        this.#deps.report(`record that stdin of ${container.id} is closed: ${describe(err)}`);
      }
    });
  }

  #take(container: MonitoredContainer): void {
    const { loop } = this.#deps;
    this.#containers.set(container.id, container);
    for (const output of container.outputs) this.#pump(container, output);
    if (container.exited !== undefined) return;
    container.own(
      watchProcess(loop, container.process, (status) => {
        if (container.terminal === undefined || container.outputs.size === 0) {
          return this.#end(container, status);
        }
        container.own(loop.after(terminalDrainMs, () => this.#end(container, status)));
      }),
    );
  }

  #pump(container: MonitoredContainer, output: PumpedOutput): void {
    const { pump } = this.#deps;
    pump.start(output, () => container.endOutput(output));
    container.own({
      [Symbol.dispose]: () => {
        if (container.outputs.delete(output)) pump.stop(output);
      },
    });
  }

  /** The log is complete and the record on disk before it is reported. Idempotent. */
  #end(container: MonitoredContainer, status: ExitStatus | undefined): void {
    if (container.exited !== undefined) return;
    this.#endWith(container, makeExitRecord(status, readOomKilled(container.plan.oomFiles)));
  }

  #endWith(container: MonitoredContainer, record: ExitRecord): void {
    if (container.exited !== undefined) return;
    // What the process wrote is in the pipes by now, and a turn takes more than a pipe holds.
    const { pump } = this.#deps;
    for (const output of container.outputs) pump.turn(output);
    for (const stream of ["stdout", "stderr"] as const) pump.flush(container.loggedStream(stream));
    container.log?.finish();
    container.exited = record;
    try {
      writeExitRecord(container.plan.exitFile, record);
      this.#save(container);
    } catch (err) {
      this.#deps.report(`exit record of ${container.id}: ${describe(err)}`);
    }
    reapEnded(container.process);
    this.#deps.broadcast({ event: "exited", container: container.id, record });
    container.clients?.finish();
  }

  #resize(id: string, columns: number, rows: number): void {
    const { terminal } = this.#get(id);
    if (terminal === undefined) throw failedPrecondition(`container ${id} has no terminal`);
    setWindowSize(terminal.fd, columns, rows);
  }

  #takeDescriptor({ container: id, kind, pid, fd }: TakeDescriptor): CreatedContainer {
    const container = this.#get(id);
    if (container[kind] === undefined) {
      using holder = pidfdOpen(pid);
      const taken = container.own(pidfdGetfd(holder.fd, fd));
      setNonblocking(taken.fd);
      container[kind] = taken;
      if (kind === "terminal") {
        this.#pump(container, container.addOutput("stdout", taken));
      }
    }
    return created(container);
  }

  #forget(id: string): void {
    removeRecord(this.#deps.recordDir, id);
    this.#containers.get(id)?.[Symbol.dispose]();
    this.#containers.delete(id);
    this.#deps.onIdle();
  }

  #retire(): void {
    this.#isRetired = true;
    this.#deps.onIdle();
  }

  #save({ plan, process, exited, isStdinClosed }: MonitoredContainer): void {
    const { pid, startTime } = process;
    const record = { plan: planOf(plan), pid, startTime, exited, isStdinClosed };
    writeRecord(this.#deps.recordDir, record);
  }

  #get(id: string): MonitoredContainer {
    const container = this.#containers.get(id);
    if (container === undefined) throw notFound(`container ${id} is not here`);
    return container;
  }
}

function created({
  process: { pid, startTime },
  terminal,
  stdin,
}: MonitoredContainer): CreatedContainer {
  return { pid, startTime, terminalFd: terminal?.fd, stdinFd: stdin?.fd };
}

function listed(container: MonitoredContainer): ListedContainer {
  const { id, plan, isAdopted, exited } = container;
  return { container: id, dir: plan.dir, isAdopted, ...created(container), exited };
}
