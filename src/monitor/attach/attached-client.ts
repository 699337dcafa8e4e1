import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../../os/epoll.ts";
import { readInto, writeFrom } from "../../os/file/io.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import {
  type AttachFrame,
  type FrameKind,
  FrameParser,
  frameHeaderBytes,
  frameKind,
  maxPayloadBytes,
  writeFrameHeader,
} from "../../runtime/monitor/attach-frames.ts";
import type { Loop } from "../loop.ts";

const behindBytes = 256 * 1024;
/** Who is this far behind is cut off at once. A turn of the pump brings up to 1 MiB. */
const maxUnsentBytes = 2 * 1024 * 1024;
const readBytes = 16 * 1024;

let scratch: Buffer | undefined;

export interface AttachmentOptions {
  readonly fd: OwnedFd;
  readonly loop: Loop;
  /** Output goes to who asked for it. */
  readonly wants: { readonly stdout: boolean; readonly stderr: boolean };
  /** What was received after the request, and what was not sent yet before it. */
  readonly received: Buffer;
  readonly unsent: Buffer;
  /** Input; the next comes after `onDone`. */
  readonly onInput: (bytes: Buffer, onDone: () => void) => void;
  readonly onInputEnd: () => void;
  /** Not behind any more, after it was. */
  readonly onCaughtUp: () => void;
  readonly onClose: () => void;
}

/** A client of a container's streams, behind one connection of the daemon. It never holds anybody up. */
export class AttachedClient implements Disposable {
  readonly #options: AttachmentOptions;
  readonly #parser = new FrameParser();
  readonly #frames: AttachFrame[] = [];
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #isTaking = true;
  #isFinished = false;
  #isClosed = false;

  constructor(options: AttachmentOptions) {
    this.#options = options;
  }

  /** To be called once; `onClose` may come before it returns. */
  start(): void {
    const { fd, loop, unsent, received } = this.#options;
    loop.watch(fd.fd, EPOLLIN, (events) => this.#ready(events));
    if (unsent.byteLength > 0) this.#queue(unsent);
    this.#received(received);
    this.#watch();
  }

  get isBehind(): boolean {
    return this.#unsentBytes > behindBytes;
  }

  /** Copies what it cannot send at once. */
  output(stream: "stdout" | "stderr", data: Buffer, from: number, to: number): void {
    if (this.#isClosed || !this.#options.wants[stream]) return;
    for (let at = from; at < to; at += maxPayloadBytes) {
      this.#send(frameKind[stream], data, at, Math.min(to, at + maxPayloadBytes));
    }
  }

  /** The container has ended and its output is complete: closes when all of it is sent. */
  finish(): void {
    this.#isFinished = true;
    this.#send(frameKind.end, Buffer.alloc(0), 0, 0);
  }

  #send(kind: FrameKind, data: Buffer, from: number, to: number): void {
    if (this.#isClosed) return;
    scratch ??= Buffer.allocUnsafeSlow(frameHeaderBytes + maxPayloadBytes);
    writeFrameHeader(scratch, kind, to - from);
    data.copy(scratch, frameHeaderBytes, from, to);
    const size = frameHeaderBytes + to - from;
    let sent = 0;
    if (this.#unsentBytes === 0) {
      const count = this.#write(scratch, size);
      if (count === undefined) return;
      sent = count;
    }
    if (sent < size) this.#queue(Buffer.from(scratch.subarray(sent, size)));
    this.#watch();
  }

  #queue(bytes: Buffer): void {
    this.#unsent.push(bytes);
    this.#unsentBytes += bytes.byteLength;
    if (this.#unsentBytes > maxUnsentBytes) this[Symbol.dispose]();
  }

  /** How much the socket took; `undefined` when the peer has gone, and then this is closed. */
  #write(bytes: Buffer, length: number): number | undefined {
    try {
      return writeFrom(this.#options.fd.fd, bytes, 0, length) ?? 0;
    } catch {
      this[Symbol.dispose]();
      return undefined;
    }
  }

  #ready(events: number): void {
    try {
      if ((events & EPOLLOUT) !== 0) this.#flush();
      if (this.#isClosed) return;
      if (!this.#isTaking && (events & (EPOLLHUP | EPOLLERR)) !== 0) this[Symbol.dispose]();
      else if (this.#isTaking && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) !== 0) this.#receive();
      this.#watch();
    } catch (err) {
      this[Symbol.dispose]();
      throw err;
    }
  }

  #flush(): void {
    const wasBehind = this.isBehind;
    this.#sendUnsent();
    if (wasBehind && !this.isBehind) this.#options.onCaughtUp();
  }

  #sendUnsent(): void {
    for (let next = this.#unsent[0]; next !== undefined; next = this.#unsent[0]) {
      const count = this.#write(next, next.byteLength);
      if (count === undefined) return;
      this.#unsentBytes -= count;
      if (count < next.byteLength) {
        this.#unsent[0] = next.subarray(count);
        return;
      }
      this.#unsent.shift();
    }
  }

  #receive(): void {
    const chunk = Buffer.allocUnsafe(readBytes);
    const count = readInto(this.#options.fd.fd, chunk, 0, readBytes);
    if (count === 0) this[Symbol.dispose]();
    else if (count !== undefined) this.#received(chunk.subarray(0, count));
  }

  #received(bytes: Buffer): void {
    this.#frames.push(...this.#parser.push(bytes));
    this.#next();
  }

  /** One frame after the other; while the container does not take one, nothing more is read. */
  #next(): void {
    this.#isTaking = true;
    for (let frame = this.#frames.shift(); frame !== undefined; frame = this.#frames.shift()) {
      if (frame.kind === frameKind.stdinEnd) this.#options.onInputEnd();
      if (frame.kind !== frameKind.stdin) continue;
      this.#isTaking = false;
      let isDone = false;
      let isLater = false;
      this.#options.onInput(frame.payload, () => {
        isDone = true;
        if (!isLater || this.#isClosed) return;
        this.#next();
        this.#watch();
      });
      isLater = true;
      if (!isDone) return;
      this.#isTaking = true;
    }
  }

  #watch(): void {
    if (this.#isClosed) return;
    if (this.#isFinished && this.#unsentBytes === 0) {
      this[Symbol.dispose]();
      return;
    }
    const events = (this.#isTaking ? EPOLLIN : 0) | (this.#unsentBytes > 0 ? EPOLLOUT : 0);
    this.#options.loop.change(this.#options.fd.fd, events);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unsent = [];
    this.#unsentBytes = 0;
    this.#options.loop.unwatch(this.#options.fd.fd);
    this.#options.fd[Symbol.dispose]();
    this.#options.onClose();
  }
}
