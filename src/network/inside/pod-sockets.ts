import { abortable } from "../../lib/abortable.ts";
import { type Context, withTimeout } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { asInteger, asList } from "../../lib/json.ts";
import { isErrno } from "../../os/errno-error.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { roleArgv } from "../../os/process/role.ts";
import {
  connectToLoopback,
  type InetFamily,
  isConnected,
  openTcpSocket,
} from "../../os/socket/inet-socket.ts";
import { takeFromChild } from "./take-from-child.ts";

const connectTimeoutMs = 30_000;
const maxRetryMs = 50;
/** In the first batch; each further one is twice as large: a socket takes next to nothing. */
const firstBatch = 4;
const largestBatch = 64;

/**
 * Connections to ports of a pod, from inside. A child goes into its network namespace and opens sockets there, which
 * we take over and connect: nothing of the node runs in the pod, and nothing of ours changes its namespace. Disposing
 * lets go of the namespace, which the spare sockets keep alive.
 */
export class PodSockets implements Disposable {
  readonly #namespace: string | undefined;
  readonly #argv: readonly string[];
  readonly #spare: Record<InetFamily, OwnedFd[]> = { ipv4: [], ipv6: [] };
  readonly #batch: Record<InetFamily, number> = { ipv4: firstBatch, ipv6: firstBatch };
  readonly #opening = new Map<InetFamily, Promise<void>>();
  #isDisposed = false;

  /** `namespace` is the path of a network namespace; the node's own without. */
  constructor(namespace: string | undefined, argv: readonly string[] = roleArgv("sockets")) {
    this.#namespace = namespace;
    this.#argv = argv;
  }

  /** A connected socket, to 127.0.0.1 or else to ::1. */
  async connect(ctx: Context, port: number): Promise<OwnedFd> {
    let refused: unknown;
    for (const family of ["ipv4", "ipv6"] as const) {
      try {
        return await this.#connect(withTimeout(ctx, connectTimeoutMs), family, port);
      } catch (err) {
        ctx.signal.throwIfAborted();
        refused ??= err;
      }
    }
    const isRefused = isErrno(refused, "ECONNREFUSED");
    const message = isRefused ? `nothing listens on port ${port}` : `connect to port ${port}`;
    throw new AppError(message, { kind: "unavailable", cause: refused });
  }

  async #connect(ctx: Context, family: InetFamily, port: number): Promise<OwnedFd> {
    const socket = await this.#take(ctx, family);
    try {
      connectToLoopback(socket.fd, family, port);
      for (let waitMs = 1; !isConnected(socket.fd); waitMs = Math.min(2 * waitMs, maxRetryMs)) {
        await abortable(Bun.sleep(waitMs), ctx.signal);
      }
      return socket;
    } catch (err) {
      socket[Symbol.dispose]();
      throw err;
    }
  }

  async #take(ctx: Context, family: InetFamily): Promise<OwnedFd> {
    if (this.#namespace === undefined) return openTcpSocket(family);
    for (;;) {
      const socket = this.#spare[family].pop();
      if (socket !== undefined) return socket;
      let opening = this.#opening.get(family);
      if (opening === undefined) {
        opening = this.#open(ctx, family, this.#namespace).finally(() =>
          this.#opening.delete(family),
        );
        this.#opening.set(family, opening);
      }
      await abortable(opening, ctx.signal);
    }
  }

  async #open(ctx: Context, family: InetFamily, path: string): Promise<void> {
    const count = this.#batch[family];
    this.#batch[family] = Math.min(2 * count, largestBatch);
    try {
      await takeFromChild(ctx, this.#argv, { path, family, count }, (response, descriptor) => {
        for (const fd of readDescriptors(response)) {
          const socket = descriptor(fd);
          if (this.#isDisposed) socket[Symbol.dispose]();
          else this.#spare[family].push(socket);
        }
      });
    } catch (cause) {
      throw new Error("open sockets in the pod", { cause });
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const sockets of Object.values(this.#spare)) {
      for (const socket of sockets) socket[Symbol.dispose]();
      sockets.length = 0;
    }
  }
}

function readDescriptors(response: unknown): readonly number[] {
  if (typeof response === "string") throw new AppError(response, { kind: "internal" });
  const descriptors = asList(response, "sockets", asInteger);
  if (descriptors.length === 0) throw new AppError("no socket", { kind: "internal" });
  return descriptors;
}
