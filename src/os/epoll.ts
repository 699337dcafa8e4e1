import { ptr } from "bun:ffi";
import { OwnedFd } from "./file/owned-fd.ts";
import { check, checkRetrying, int32, link, uint32 } from "./libc.ts";

const libc = link({
  epoll_create1: { args: ["int"], returns: "int" },
  epoll_ctl: { args: ["int", "int", "int", "ptr"], returns: "int" },
  epoll_wait: { args: ["int", "ptr", "int", "int"], returns: "int" },
});

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
const EPOLL_CLOEXEC = 0x8_0000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

// struct epoll_event is packed on x86-64 only: u32 events, u64 data.
const eventSize = process.arch === "x64" ? 12 : 16;
const dataOffset = eventSize - 8;
const maxEvents = 64;

export type ReadyCallback = (events: number) => void;

/** epoll(7), level-triggered, one callback a descriptor. The blocking heart of a role that has no other event loop. */
export class Epoll implements Disposable {
  readonly #epfd: OwnedFd;
  readonly #event = new DataView(new ArrayBuffer(eventSize));
  readonly #ready = new DataView(new ArrayBuffer(eventSize * maxEvents));
  readonly #callbacks = new Map<number, ReadyCallback>();

  constructor() {
    this.#epfd = new OwnedFd(check("epoll_create1", () => libc.epoll_create1(EPOLL_CLOEXEC)));
  }

  add(fd: number, events: number, callback: ReadyCallback): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
    this.#callbacks.set(fd, callback);
  }

  modify(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /** Call it before the descriptor is closed. */
  remove(fd: number): void {
    if (!this.#callbacks.delete(fd)) return;
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /** Waits at most `timeoutMs` (-1: for ever) and runs the callbacks of what is ready. */
  wait(timeoutMs: number): void {
    const count = checkRetrying("epoll_wait", () =>
      libc.epoll_wait(this.#epfd.fd, ptr(this.#ready), maxEvents, int32(timeoutMs)),
    );
    const ready: [fd: number, events: number][] = [];
    for (let i = 0; i < count; i++) {
      const at = i * eventSize;
      ready.push([this.#ready.getInt32(at + dataOffset, true), this.#ready.getUint32(at, true)]);
    }
    // A callback may remove descriptors that are ready in the same round.
    for (const [fd, events] of ready) this.#callbacks.get(fd)?.(events);
  }

  #control(operation: number, fd: number, events: number): void {
    this.#event.setUint32(0, uint32(events), true);
    this.#event.setInt32(dataOffset, int32(fd), true);
    check(`epoll_ctl ${fd}`, () => libc.epoll_ctl(this.#epfd.fd, operation, fd, ptr(this.#event)));
  }

  [Symbol.dispose](): void {
    this.#epfd[Symbol.dispose]();
  }
}
