import { chmodSync, rmSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { TaskOOMSchema } from "../../gen/events/task_pb.ts";
import { Events } from "../../gen/services/ttrpc/events/v1/events_pb.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { handlersFor, SocketStream } from "../../os/socket/socket-stream.ts";
import { serveTtrpc } from "../../ttrpc/server.ts";

const maxConnections = 2000;
const maxRemembered = 10_000;

/**
 * Takes the events that shims forward. Of all that they tell, only one thing cannot be asked for: that a process of a
 * task was killed for want of memory.
 */
export class ShimEvents implements Disposable {
  readonly #oomKilled = new Set<string>();
  readonly #listener: Disposable | undefined;
  readonly #namespace: string;

  /** Listens on `path`. Where that does not work shims do without it, and so do we. */
  constructor(ctx: Context, path: string, namespace: string) {
    this.#namespace = namespace;
    try {
      rmSync(path, { force: true });
      this.#listener = listen(path, (connection) => this.#serve(ctx, connection));
    } catch (err) {
      ctx.log.warn("shim events not served", { path, err: describe(err) });
    }
  }

  /** Whether a process of this task was killed for want of memory, as far as its shim has reported. */
  wasOomKilled(id: string): boolean {
    return this.#oomKilled.has(id);
  }

  forget(id: string): void {
    this.#oomKilled.delete(id);
  }

  async #serve(ctx: Context, connection: SocketStream): Promise<void> {
    try {
      await serveTtrpc(ctx, connection, Events, {
        forward: async (_call, { envelope }) => {
          if (envelope?.namespace === this.#namespace) this.#take(envelope.topic, envelope.event);
          return { $typeName: EmptySchema.typeName };
        },
      });
    } catch (err) {
      ctx.log.debug("shim event connection failed", { err: describe(err) });
    }
  }

  #take(topic: string, event: { readonly value: Uint8Array } | undefined): void {
    if (topic !== "/tasks/oom" || event === undefined) return;
    const { containerId } = fromBinary(TaskOOMSchema, event.value);
    if (this.#oomKilled.size < maxRemembered) this.#oomKilled.add(containerId);
  }

  [Symbol.dispose](): void {
    this.#listener?.[Symbol.dispose]();
  }
}

function listen(
  path: string,
  onConnection: (connection: SocketStream) => Promise<void>,
): Disposable {
  let count = 0;
  const listener = Bun.listen({
    unix: path,
    allowHalfOpen: true,
    socket: handlersFor(() => {
      const connection = new SocketStream();
      count++;
      if (count > maxConnections) connection[Symbol.dispose]();
      void onConnection(connection).finally(() => count--);
      return connection;
    }),
  });
  chmodSync(path, 0o600);
  return { [Symbol.dispose]: () => listener.stop() };
}
