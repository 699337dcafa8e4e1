import type { Socket } from "bun";
import { AppError } from "../../lib/errors.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { findProcess, signalUnlessEnded } from "../../os/process/pidfd.ts";
import { peerOf } from "../../os/socket/unix-socket.ts";
import { CreateRefusal } from "./create-refusal.ts";
import type { ExitRecord } from "./exit-record.ts";
import { type MonitorRequest, maxMessageBytes } from "./monitor-protocol.ts";
import {
  formatMessage,
  type MonitorError,
  type MonitorMessage,
  parseMessage,
} from "./monitor-responses.ts";

const newline = 0x0a;
const SIGKILL = 9;

export interface MonitorClientEvents {
  onExit(container: string, record: ExitRecord): void;
  /** The connection has ended, whoever ended it. All requests have been refused. */
  onClose(): void;
}

/** One connection to one monitor. */
export class MonitorClient implements Disposable {
  readonly #events: MonitorClientEvents;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #socket: Socket | undefined;
  #process: OwnedFd | undefined;
  #received: Buffer = Buffer.alloc(0);
  #unsent: Buffer = Buffer.alloc(0);
  #nextId = 1;
  #isClosed = false;

  private constructor(events: MonitorClientEvents) {
    this.#events = events;
  }

  /** Throws ECONNREFUSED or ENOENT when no monitor listens. */
  static async connect(path: string, events: MonitorClientEvents): Promise<MonitorClient> {
    const client = new MonitorClient(events);
    await Bun.connect({
      unix: path,
      socket: {
        open: (socket) => client.#opened(socket),
        binaryType: "buffer",
        data: (_socket, chunk) => client.#receive(chunk),
        drain: () => client.#flush(),
        close: () => client.#closed(),
        error: () => client.#closed(),
      },
    });
    return client;
  }

  /** The monitor's response, or the error that it gave, or `unavailable` when it goes before. */
  request(request: MonitorRequest): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(gone());
    const id = this.#nextId++;
    const result = Promise.withResolvers<unknown>();
    this.#waiting.set(id, result);
    this.#unsent = Buffer.concat([this.#unsent, Buffer.from(formatMessage({ id, ...request }))]);
    this.#flush();
    return result.promise;
  }

  /** Throws `unavailable` once the connection has ended. */
  requireOpen(): void {
    if (this.#isClosed) throw gone();
  }

  /** Ends the monitor, and not its children, which are containers: a successor goes on with them. */
  kill(): void {
    if (this.#process !== undefined) signalUnlessEnded(this.#process.fd, SIGKILL);
  }

  #opened(socket: Socket): void {
    this.#socket = socket;
    // Bun's types leave it out. The number is the monitor's while the connection lasts, the descriptor for good.
    const { fd } = socket as Socket & { readonly fd: number };
    this.#process = findProcess(peerOf(fd));
  }

  #flush(): void {
    if (this.#unsent.byteLength === 0) return;
    const sent = this.#socket?.write(this.#unsent) ?? 0;
    if (sent > 0) this.#unsent = this.#unsent.subarray(sent);
  }

  #receive(chunk: Buffer): void {
    let rest = Buffer.concat([this.#received, chunk]);
    try {
      for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline)) {
        this.#take(parseMessage(rest.subarray(0, at)));
        rest = rest.subarray(at + 1);
      }
    } catch {
      this.#socket?.terminate(); // it does not speak our language
      return;
    }
    if (rest.byteLength > maxMessageBytes) this.#socket?.terminate();
    this.#received = rest;
  }

  #take(message: MonitorMessage): void {
    if ("event" in message) {
      this.#events.onExit(message.container, message.record);
      return;
    }
    const result = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ("error" in message) {
      result?.reject(errorOf(message.error));
    } else result?.resolve(message.result);
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#end();
    this.#events.onClose();
  }

  #end(): void {
    this.#isClosed = true;
    this.#process?.[Symbol.dispose]();
    this.#process = undefined;
    for (const result of this.#waiting.values()) result.reject(gone());
    this.#waiting.clear();
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#socket?.terminate();
  }
}

function errorOf({ kind, message, isRefusal }: MonitorError): AppError {
  return isRefusal === true ? new CreateRefusal(message) : new AppError(message, { kind });
}

function gone(): AppError {
  return new AppError("the monitor has gone", { kind: "unavailable" });
}
