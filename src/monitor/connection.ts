import { AppError, describe, kindOf } from "../lib/errors.ts";
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../os/epoll.ts";
import { readInto, writeFrom } from "../os/file/io.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import { CreateRefusal } from "../runtime/monitor/create-refusal.ts";
import {
  type MonitorRequest,
  maxMessageBytes,
  parseRequest,
} from "../runtime/monitor/monitor-protocol.ts";
import { formatMessage, type MonitorError } from "../runtime/monitor/monitor-responses.ts";
import type { Loop } from "./loop.ts";

const readBytes = 16 * 1024;
/** A daemon that does not read this much of its responses is stuck: it may connect again. */
const maxUnsentBytes = 4 * 1024 * 1024;
const newline = 0x0a;

/** Responds to one request, now or later, once. A throw is a response too. */
export type Respond = (result: unknown) => void;

/** A connection that from now on speaks something else, and belongs to who took it. */
export interface HandedOver {
  readonly fd: OwnedFd;
  /** What came after the request. */
  readonly received: Buffer;
  /** The end of the response. */
  readonly unsent: Buffer;
}

export type Dispatch = (
  request: MonitorRequest,
  respond: Respond,
  refuse: (err: unknown) => void,
  handOver: () => HandedOver,
) => void;

/** One daemon on the monitor's socket. Closes itself when the peer goes or misbehaves. */
export class Connection implements Disposable {
  readonly #fd: OwnedFd;
  readonly #loop: Loop;
  readonly #dispatch: Dispatch;
  readonly #onClose: () => void;
  #received: Buffer = Buffer.alloc(0);
  #unsent: Buffer = Buffer.alloc(0);
  #isClosed = false;

  constructor(fd: OwnedFd, loop: Loop, dispatch: Dispatch, onClose: () => void) {
    this.#fd = fd;
    this.#loop = loop;
    this.#dispatch = dispatch;
    this.#onClose = onClose;
    loop.watch(fd.fd, EPOLLIN, (events) => this.#ready(events));
  }

  send(message: object): void {
    if (this.#isClosed) return;
    this.#unsent = Buffer.concat([this.#unsent, Buffer.from(formatMessage(message))]);
    this.#flush();
  }

  #ready(events: number): void {
    try {
      if ((events & EPOLLOUT) !== 0) this.#flush();
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) !== 0 && !this.#isClosed) this.#receive();
    } catch (err) {
      this[Symbol.dispose]();
      throw err;
    }
  }

  #receive(): void {
    const chunk = Buffer.allocUnsafe(readBytes);
    const count = readInto(this.#fd.fd, chunk, 0, readBytes);
    if (count === undefined) return;
    if (count === 0) {
      this[Symbol.dispose]();
      return;
    }
    let rest = Buffer.concat([this.#received, chunk.subarray(0, count)]);
    for (let at = rest.indexOf(newline); at >= 0 && !this.#isClosed; at = rest.indexOf(newline)) {
      const line = rest.subarray(0, at);
      rest = rest.subarray(at + 1);
      this.#received = rest;
      this.#request(line);
    }
    if (rest.byteLength > maxMessageBytes) throw new RangeError("monitor request without an end");
    this.#received = rest.byteLength === 0 ? Buffer.alloc(0) : Buffer.from(rest);
  }

  #request(line: Buffer): void {
    const { id, parse } = parseRequest(line);
    const refuse = (err: unknown) => {
      const error: MonitorError = { kind: kindOf(err), message: describe(err) };
      this.send({
        id,
        error: err instanceof CreateRefusal ? { ...error, isRefusal: true } : error,
      });
    };
    try {
      const respond: Respond = (result) => this.send({ id, result: result ?? null });
      this.#dispatch(parse(), respond, refuse, () => this.#handOver());
    } catch (err) {
      refuse(err);
    }
  }

  #handOver(): HandedOver {
    if (this.#isClosed) throw new AppError("the connection is closed", { kind: "cancelled" });
    this.#isClosed = true;
    this.#loop.unwatch(this.#fd.fd);
    this.#onClose();
    return { fd: this.#fd, received: Buffer.from(this.#received), unsent: this.#unsent };
  }

  #flush(): void {
    if (this.#writeUnsent() && this.#unsent.byteLength <= maxUnsentBytes) {
      const events = this.#unsent.byteLength > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN;
      this.#loop.change(this.#fd.fd, events);
    } else this[Symbol.dispose]();
  }

  /** False when the daemon has gone (EPIPE). */
  #writeUnsent(): boolean {
    try {
      while (this.#unsent.byteLength > 0) {
        const count = writeFrom(this.#fd.fd, this.#unsent, 0, this.#unsent.byteLength);
        if (count === undefined) break;
        this.#unsent = this.#unsent.subarray(count);
      }
      return true;
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loop.unwatch(this.#fd.fd);
    this.#fd[Symbol.dispose]();
    this.#onClose();
  }
}
