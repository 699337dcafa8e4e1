import { abortable } from "../lib/abortable.ts";
import { type Context, withFields } from "../lib/context.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { SandboxId } from "../lib/id.ts";
import { handlersFor, SocketStream } from "../os/socket/socket-stream.ts";
import { withFirst } from "../spdy/byte-channel.ts";
import { lingerMs, settledWithin } from "./client-streams.ts";
import type { StreamingDeps, StreamRequest } from "./deps.ts";
import { formatResponse, readRequestHead } from "./http-head.ts";
import { Listener, type ListenerOptions } from "./listener.ts";
import { type SessionTimes, serveSession, sessionProtocols } from "./session.ts";
import { Tokens } from "./tokens.ts";
import { negotiate } from "./upgrade.ts";

export interface StreamingOptions extends ListenerOptions, Partial<SessionTimes> {}

const maxSessions = 1000;
/** Connections that have not shown a token yet. Of more, the oldest are closed. */
const maxUnauthenticated = 1000;
const times: SessionTimes = {
  headMs: 15_000,
  creationMs: 30_000,
  firstSizeMs: 200,
  idleMs: 4 * 3600_000,
  pingMs: 30_000,
};

/**
 * Serves exec, attach and port-forward to whoever has a URL of `url`. Nothing that a client sends ends more than its
 * own connection.
 */
export class StreamingServer implements AsyncDisposable {
  readonly #ctx: Context;
  readonly #deps: StreamingDeps;
  readonly #times: SessionTimes;
  readonly #listener: Listener;
  readonly #tokens = new Tokens<StreamRequest>();
  readonly #closing = new AbortController();
  readonly #sessions = new Set<Promise<void>>();
  readonly #forwards = new Map<SandboxId, Set<AbortController>>();
  /** With the number of their arrival, the oldest first. */
  readonly #unauthenticated = new Map<SocketStream, number>();
  #arrivals = 0;
  #isTrimming = false;
  #admitted = 0;

  /** Listens when this returns. */
  constructor(ctx: Context, deps: StreamingDeps, options: StreamingOptions) {
    this.#ctx = ctx;
    this.#deps = deps;
    this.#times = { ...times, ...options };
    const handlers = handlersFor(() => this.#connected());
    this.#listener = new Listener(ctx, options, handlers);
  }

  /** Where a client finds what it asked for, once and within a minute. */
  url(request: StreamRequest): string {
    this.#listener.refresh();
    return `${this.#listener.origin}/${request.kind}/${this.#tokens.issue(request)}`;
  }

  /** Ends the port-forwards of a sandbox that is stopped. */
  endForwards(sandbox: SandboxId): void {
    const reason = new AppError("the sandbox was stopped", { kind: "cancelled" });
    for (const forward of this.#forwards.get(sandbox) ?? []) forward.abort(reason);
  }

  #connected(): SocketStream {
    const stream = new SocketStream();
    const session = this.#serve(stream)
      .catch((err) => this.#ctx.log.debug("streaming connection failed", { err: describe(err) }))
      .finally(() => {
        stream[Symbol.dispose]();
        this.#sessions.delete(session);
      });
    this.#sessions.add(session);
    return stream;
  }

  async #serve(stream: SocketStream): Promise<void> {
    this.#unauthenticated.set(stream, ++this.#arrivals);
    this.#trim();
    try {
      await this.#serveStranger(stream);
    } finally {
      this.#unauthenticated.delete(stream);
    }
  }

  /**
   * Whoever has a token gets in, however many others are connected: the oldest of those go. What came with a connection
   * is read first, hence a turn of the event loop later, and those that have come since are left to the next time.
   */
  #trim(): void {
    if (this.#isTrimming || this.#unauthenticated.size <= maxUnauthenticated) return;
    this.#isTrimming = true;
    const newest = this.#arrivals;
    const trim = () => {
      for (const [stream, arrival] of this.#unauthenticated) {
        if (this.#unauthenticated.size <= maxUnauthenticated || arrival > newest) break;
        this.#unauthenticated.delete(stream);
        stream[Symbol.dispose]();
      }
      this.#isTrimming = false;
      this.#trim();
    };
    setImmediate(() => setTimeout(trim, 0));
  }

  async #serveStranger(stream: SocketStream): Promise<void> {
    const refuse = async (...response: Parameters<typeof formatResponse>) => {
      await stream.write(formatResponse(...response));
      await settledWithin(Promise.all([stream.end(), drain(stream)]), lingerMs);
    };
    const known = await this.#readRequest(stream);
    if (known === undefined) return;
    const { head, rest } = known;
    const [, kind, token = ""] = /^\/(exec|attach|portforward)\/([^/]+)$/.exec(head.path) ?? [];
    const isAllowed = head.method === "GET" || head.method === "POST";
    const request = isAllowed ? this.#tokens.take(token) : undefined;
    if (request?.kind !== kind || request === undefined) {
      await refuse("404 Not Found", "not found");
      return;
    }
    this.#unauthenticated.delete(stream);
    if (this.#admitted >= maxSessions) {
      await refuse("503 Service Unavailable", `${maxSessions} streams are open`);
      return;
    }
    const upgrade = negotiate(head, sessionProtocols(request.kind));
    if ("status" in upgrade) {
      await refuse(upgrade.status, upgrade.text, upgrade.headers);
      return;
    }
    stream.keepAlive(this.#times.pingMs);
    this.#admitted++;
    const ended = this.#endOf(request);
    try {
      await stream.write(upgrade.response);
      const subject =
        request.kind === "portforward"
          ? { sandbox: request.sandbox }
          : { container: request.container };
      const ctx = withFields(this.#ctx, { ...subject, stream: request.kind });
      const signal = AbortSignal.any([ctx.signal, this.#closing.signal, ended.signal]);
      const channel = withFirst(stream, rest);
      await serveSession({ ...ctx, signal }, this.#deps, request, channel, {
        ...this.#times,
        ...upgrade,
      });
    } finally {
      this.#admitted--;
      ended[Symbol.dispose]();
    }
  }

  /** `undefined` when it did not come in time, or is none; the client has got its response. */
  async #readRequest(stream: SocketStream) {
    try {
      const tooLate = AbortSignal.any([
        AbortSignal.timeout(this.#times.headMs),
        this.#closing.signal,
      ]);
      return await abortable(readRequestHead(stream), tooLate);
    } catch (err) {
      if (stream.gone.aborted) return undefined;
      await stream.write(formatResponse("400 Bad Request", "not a request"));
      await settledWithin(stream.end(), lingerMs);
      this.#ctx.log.debug("streaming request refused", { err: describe(err) });
      return undefined;
    }
  }

  #endOf(request: StreamRequest): { readonly signal: AbortSignal } & Disposable {
    const end = new AbortController();
    if (request.kind !== "portforward") return { signal: end.signal, [Symbol.dispose]: () => {} };
    const { sandbox } = request;
    const forwards = this.#forwards.get(sandbox) ?? new Set();
    this.#forwards.set(sandbox, forwards.add(end));
    return {
      signal: end.signal,
      [Symbol.dispose]: () => {
        forwards.delete(end);
        if (forwards.size === 0) this.#forwards.delete(sandbox);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener[Symbol.dispose]();
    this.#closing.abort(new AppError("crib is shutting down", { kind: "unavailable" }));
    await settledWithin(Promise.all(this.#sessions), lingerMs);
  }
}

/** Until the client has closed. */
async function drain(stream: SocketStream): Promise<void> {
  while ((await stream.read()) !== undefined) {
    // Whatever it still sends is for nobody.
  }
}
