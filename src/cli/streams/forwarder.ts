import { AppError } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { handlersFor, SocketStream } from "../../os/socket/socket-stream.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { describeFailure, failureKind } from "../failure.ts";
import { forwardConnection } from "./forward.ts";

export interface ForwardedPort {
  /** 0 is any that is free. */
  readonly local: number;
  readonly remote: number;
}

/**
 * Listens on this node and carries each connection to the pod over a stream connection of its own, so that one that
 * fails or stands still is nothing to the others. Disposing ends all of them.
 */
export class Forwarder implements Disposable {
  readonly #env: CommandEnv;
  readonly #cri: CriClient;
  readonly #podSandboxId: string;
  readonly #closing = new AbortController();
  readonly #listeners: Bun.TCPSocketListener<unknown>[] = [];
  readonly #failed = Promise.withResolvers<never>();

  constructor(env: CommandEnv, cri: CriClient, podSandboxId: string) {
    this.#env = env;
    this.#cri = cri;
    this.#podSandboxId = podSandboxId;
    this.#failed.promise.catch(() => {}); // those who wait for it get it
  }

  /** Rejects when the pod is gone: no connection will succeed any more. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Answers the port that it listens on. */
  listen(hostname: string, { local, remote }: ForwardedPort): number {
    try {
      const listener = Bun.listen({
        hostname,
        port: local,
        allowHalfOpen: true,
        socket: handlersFor(() => this.#connected(remote)),
      });
      this.#listeners.push(listener);
      return listener.port;
    } catch (cause) {
      const inUse = isErrno(cause, "EADDRINUSE");
      const kind = inUse ? "failed-precondition" : "internal";
      const why = inUse ? ": the port is in use" : "";
      throw new AppError(`listen on ${hostname}:${local}${why}`, { kind, cause });
    }
  }

  #connected(port: number): SocketStream {
    const stream = new SocketStream();
    this.#forward(stream, port)
      .catch((err) => this.#tell(port, err))
      .finally(() => stream[Symbol.dispose]());
    return stream;
  }

  async #forward(stream: SocketStream, port: number): Promise<void> {
    const { signal } = this.#closing;
    const request = { podSandboxId: this.#podSandboxId, port: [port] };
    const { url } = await this.#cri.runtime.portForward(request, { signal }).catch((err) => {
      if (failureKind(err) !== "unavailable") this.#failed.reject(err);
      throw err;
    });
    await forwardConnection(signal, url, stream, port);
  }

  #tell(port: number, err: unknown): void {
    if (this.#closing.signal.aborted) return;
    const failure = describeFailure(err);
    const subject = failure.includes(`port ${port}`) ? "" : `port ${port}: `;
    this.#env.out.writeError(`crib: ${subject}${failure}\n`);
  }

  [Symbol.dispose](): void {
    this.#closing.abort(new AppError("port-forward ends", { kind: "cancelled" }));
    for (const listener of this.#listeners) listener.stop();
  }
}
