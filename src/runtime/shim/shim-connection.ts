import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Task } from "../../gen/runtime/task/v3/shim_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, withTimeout } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { SocketStream } from "../../os/socket/socket-stream.ts";
import { TtrpcClient } from "../../ttrpc/client.ts";
import type { ShimAddress } from "./bootstrap.ts";

const dialMs = 5000;
/** What a call takes at most by default: the work of a runtime's command, on a node that is busy. */
const callMs = 60_000;

/** The service of version 2 has the same messages as that of version 3. */
const services = { 2: "containerd.task.v2.Task", 3: Task.typeName } as const;

/** A connection to a shim, shared by all tasks that it has. */
export class ShimConnection implements Disposable {
  readonly address: ShimAddress;
  readonly #client: TtrpcClient;

  private constructor(address: ShimAddress, client: TtrpcClient) {
    this.address = address;
    this.#client = client;
  }

  /** `unavailable` where nobody listens. */
  static async dial(
    ctx: Context,
    address: ShimAddress,
    namespace: string,
  ): Promise<ShimConnection> {
    const connecting = SocketStream.connect({ unix: address.path });
    try {
      const socket = await abortable(connecting, withTimeout(ctx, dialMs).signal);
      const metadata = { "containerd-namespace-ttrpc": namespace };
      return new ShimConnection(address, new TtrpcClient(socket, { metadata }));
    } catch (cause) {
      connecting.then((socket) => socket[Symbol.dispose]()).catch(() => {});
      throw new AppError(`connect with the shim at ${address.path}`, {
        kind: "unavailable",
        cause,
      });
    }
  }

  get gone(): AbortSignal {
    return this.#client.gone;
  }

  /** A call of the task service: `RemoteError` where the shim says no. */
  async call<Input extends DescMessage, Output extends DescMessage>(
    ctx: Context,
    method: DescMethodUnary<Input, Output>,
    input: MessageInitShape<Input>,
    options: { readonly timeoutMs: number | undefined } = { timeoutMs: callMs },
  ): Promise<MessageShape<Output>> {
    const service = services[this.address.version];
    return await this.#client.call(ctx, method, input, { ...options, service });
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

/** The connections of a runtime, by the socket that they lead to. */
export class ShimConnections implements Disposable {
  readonly #namespace: string;
  readonly #open = new Map<string, Promise<ShimConnection>>();

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  /** The one that is open, or a new one. `unavailable` where nobody listens. */
  async get(ctx: Context, address: ShimAddress): Promise<ShimConnection> {
    const known = this.#open.get(address.path);
    if (known !== undefined) {
      const connection = await abortable(known, ctx.signal);
      if (!connection.gone.aborted) return connection;
      if (this.#open.get(address.path) === known) this.#open.delete(address.path);
      return await this.get(ctx, address);
    }
    const dialling = ShimConnection.dial(ctx, address, this.#namespace);
    this.#open.set(address.path, dialling);
    const drop = () => {
      if (this.#open.get(address.path) === dialling) this.#open.delete(address.path);
    };
    try {
      const connection = await dialling;
      connection.gone.addEventListener("abort", drop, { once: true });
      return connection;
    } catch (err) {
      drop();
      throw err;
    }
  }

  [Symbol.dispose](): void {
    for (const dialling of this.#open.values()) {
      dialling.then((connection) => connection[Symbol.dispose]()).catch(() => {});
    }
    this.#open.clear();
  }
}
