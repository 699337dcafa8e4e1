import type { OwnedFd } from "../os/file/owned-fd.ts";
import type { ExitRecord } from "../runtime/monitor/exit-record.ts";
import type { ContainerPlan } from "../runtime/monitor/monitor-protocol.ts";
import type { AttachedClients } from "./attach/attached-clients.ts";
import type { Loop } from "./loop.ts";
import type { LogStream } from "./stdio/cri-log.ts";
import { HeldLine } from "./stdio/held-line.ts";
import type { ContainerInput } from "./stdio/input.ts";
import type { LogFile } from "./stdio/log-file.ts";
import type { LoggedStream, PumpedOutput } from "./stdio/pump.ts";

/** The container's first process. Without a pidfd it ended while no monitor was there. */
export interface FirstProcess {
  readonly pid: number;
  readonly startTime: number;
  readonly pidfd: OwnedFd | undefined;
}

/** A container in the care of this monitor. Disposing closes everything that is open for it and removes its pipes. */
export class MonitoredContainer implements Disposable {
  readonly plan: ContainerPlan;
  readonly process: FirstProcess;
  readonly log: LogFile | undefined;
  readonly #open: DisposableStack;
  /** Those that have not ended yet. */
  readonly outputs = new Set<PumpedOutput>();
  readonly #held = new Map<LogStream, HeldLine>();
  terminal: OwnedFd | undefined;
  stdin: OwnedFd | undefined;
  /** Both are made when somebody attaches. */
  clients: AttachedClients | undefined;
  input: ContainerInput | undefined;
  /** It was open for one client (`stdinOnce`), who has gone. */
  isStdinClosed = false;
  exited: ExitRecord | undefined;
  /** Its process is not our child: we are the successor of the monitor that had it. */
  isAdopted = false;
  #onDrained: (() => void) | undefined;

  /** `open` holds whatever is to be closed with the container. */
  constructor(
    plan: ContainerPlan,
    process: FirstProcess,
    log: LogFile | undefined,
    open: DisposableStack,
  ) {
    this.plan = plan;
    this.process = process;
    this.log = log;
    this.#open = open;
  }

  get id(): string {
    return this.plan.container;
  }

  /** Closed with the container. */
  own<T extends Disposable>(resource: T): T {
    return this.#open.use(resource);
  }

  addOutput(stream: PumpedOutput["stream"], source: OwnedFd): PumpedOutput {
    const tap = (data: Buffer, from: number, to: number) =>
      this.clients?.output(stream, data, from, to);
    const output = { ...this.loggedStream(stream), source, tap };
    this.outputs.add(output);
    return output;
  }

  /** Where output of this stream goes, also while its pipe or terminal is not here. */
  loggedStream(stream: LogStream): LoggedStream {
    return { container: this.id, stream, log: this.log, held: this.#heldLine(stream) };
  }

  #heldLine(stream: LogStream): HeldLine | undefined {
    if (this.log === undefined) return undefined;
    const known = this.#held.get(stream);
    if (known !== undefined) return known;
    const held = this.own(new HeldLine(this.plan.dir, stream));
    this.#held.set(stream, held);
    return held;
  }

  /** The pipe has come to its end. */
  endOutput(output: PumpedOutput): void {
    if (!this.outputs.delete(output) || this.outputs.size > 0) return;
    this.#onDrained?.();
  }

  /** Calls `onDrained` once: when all outputs have come to their end, or after `limitMs`. */
  whenDrained(loop: Loop, limitMs: number, onDrained: () => void): void {
    const late = this.own(loop.after(limitMs, () => this.#onDrained?.()));
    const earlier = this.#onDrained;
    this.#onDrained = () => {
      this.#onDrained = undefined;
      late[Symbol.dispose]();
      earlier?.();
      onDrained();
    };
  }

  closeStdin(): void {
    this.input?.[Symbol.dispose]();
    this.stdin?.[Symbol.dispose]();
    this.input = undefined;
    this.stdin = undefined;
    this.isStdinClosed = true;
  }

  [Symbol.dispose](): void {
    this.clients?.[Symbol.dispose]();
    this.input?.[Symbol.dispose]();
    this.#open.dispose();
  }
}
