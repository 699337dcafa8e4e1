import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { RequestSchema, ResponseSchema } from "../gen/ttrpc/ttrpc_pb.ts";
import { abortable } from "../lib/abortable.ts";
import { ByteReader } from "../lib/byte-reader.ts";
import { type Context, withTimeout } from "../lib/context.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { Channel } from "./channel.ts";
import { encodeFrame, type Frame, FrameType, readFrame } from "./frame.ts";
import { toRemoteError } from "./status.ts";

const maxPending = 1000;
const maxStream = 0xffff_ffff;

/**
 * The calling side of a ttrpc connection, unary calls only, any number at once. A call fails with `RemoteError` when
 * the peer says no, with `deadline-exceeded` when it says nothing in time, and with `unavailable` when the connection
 * is gone or speaks nonsense; then it is closed. Disposing closes it.
 */
export class TtrpcClient implements Disposable {
  readonly #channel: Channel;
  readonly #metadata: Readonly<Record<string, string>>;
  readonly #pending = new Map<number, PromiseWithResolvers<Uint8Array>>();
  #stream = -1;

  /** `metadata` goes with every call. */
  constructor(
    channel: Channel,
    options: { readonly metadata?: Readonly<Record<string, string>> } = {},
  ) {
    this.#channel = channel;
    this.#metadata = options.metadata ?? {};
    void this.#receive();
  }

  get gone(): AbortSignal {
    return this.#channel.gone;
  }

  /** Without `timeoutMs` a response may take as long as the connection and the context last. */
  async call<Input extends DescMessage, Output extends DescMessage>(
    ctx: Context,
    method: DescMethodUnary<Input, Output>,
    input: MessageInitShape<Input>,
    options: {
      readonly timeoutMs: number | undefined;
      /** What the peer calls the service, where that is not the method's own. */
      readonly service?: string;
    },
  ): Promise<MessageShape<Output>> {
    const { timeoutMs } = options;
    const request = create(RequestSchema, {
      service: options.service ?? method.parent.typeName,
      method: method.name,
      payload: toBinary(method.input, create(method.input, input)),
      timeoutNano: BigInt(timeoutMs ?? 0) * 1_000_000n,
      metadata: Object.entries(this.#metadata).map(([key, value]) => ({ key, value })),
    });
    const limited = timeoutMs === undefined ? ctx : withTimeout(ctx, timeoutMs);
    const payload = await this.#exchange(limited, toBinary(RequestSchema, request));
    try {
      return fromBinary(method.output, payload);
    } catch (cause) {
      throw this.#broken(cause);
    }
  }

  async #exchange({ signal }: Context, data: Uint8Array): Promise<Uint8Array> {
    signal.throwIfAborted();
    if (this.gone.aborted) throw closed();
    if (this.#pending.size >= maxPending || this.#stream + 2 > maxStream) {
      throw new AppError("ttrpc: too many calls", { kind: "resource-exhausted" });
    }
    this.#stream += 2;
    const stream = this.#stream;
    const frame = encodeFrame({ stream, type: FrameType.request, flags: 0, data });
    const result = Promise.withResolvers<Uint8Array>();
    this.#pending.set(stream, result);
    // Whoever is not waited for any more must not become an unhandled rejection.
    result.promise.catch(() => {});
    try {
      await abortable(this.#channel.write(frame), signal);
      return await abortable(result.promise, signal);
    } finally {
      this.#pending.delete(stream);
    }
  }

  async #receive(): Promise<void> {
    const reader = new ByteReader(this.#channel);
    try {
      for (;;) {
        const frame = await readFrame(reader);
        if (frame === undefined) break;
        this.#take(frame);
      }
      this.#fail(closed());
    } catch (err) {
      this.#fail(this.gone.aborted ? closed() : this.#broken(err));
    } finally {
      this.#channel[Symbol.dispose]();
    }
  }

  #take({ stream, type, data }: Frame): void {
    if (type !== FrameType.response) throw new RangeError(`a frame of type ${type}`);
    const { status, payload } = fromBinary(ResponseSchema, data);
    // Nobody waits for a response that comes too late.
    const waiting = this.#pending.get(stream);
    if (status === undefined || status.code === 0) waiting?.resolve(payload);
    else waiting?.reject(toRemoteError(status.code, status.message));
  }

  #broken(cause: unknown): AppError {
    const err = new AppError(`ttrpc: the peer sent nonsense: ${describe(cause)}`, {
      kind: "unavailable",
    });
    this.#fail(err);
    this.#channel[Symbol.dispose]();
    return err;
  }

  #fail(err: AppError): void {
    for (const { reject } of this.#pending.values()) reject(err);
  }

  [Symbol.dispose](): void {
    this.#channel[Symbol.dispose]();
    this.#fail(closed());
  }
}

function closed(): AppError {
  return new AppError("ttrpc: the connection is closed", { kind: "unavailable" });
}
