import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Request, RequestSchema, ResponseSchema } from "../gen/ttrpc/ttrpc_pb.ts";
import { ByteReader } from "../lib/byte-reader.ts";
import type { Context } from "../lib/context.ts";
import { AppError, describe, invalidArgument } from "../lib/errors.ts";
import type { Channel } from "./channel.ts";
import { encodeFrame, type Frame, FrameType, readFrame } from "./frame.ts";
import { toStatus } from "./status.ts";

/** The methods of a service by their local names; one that is missing returns `unimplemented`. */
export type TtrpcService<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]?: Service["method"][Name] extends DescMethodUnary<
    infer Input extends DescMessage,
    infer Output extends DescMessage
  >
    ? (ctx: Context, input: MessageShape<Input>) => Promise<MessageInitShape<Output>>
    : never;
};

export interface TtrpcServerOptions {
  /** Calls of one connection in progress at the same time. */
  readonly maxCalls?: number;
}

const defaultMaxCalls = 64;
/** setTimeout counts to 2^31 milliseconds. */
const maxTimeoutMs = 24 * 3600 * 1000;

/**
 * Serves the calls of one connection until it ends, any number at once. The context of a call is cancelled when the
 * caller's time is over and when the connection is gone. Throws when the peer speaks nonsense; the connection is closed
 * in any case.
 */
export async function serveTtrpc<Service extends DescService>(
  ctx: Context,
  channel: Channel,
  service: Service,
  methods: TtrpcService<Service>,
  options: TtrpcServerOptions = {},
): Promise<void> {
  const { maxCalls = defaultMaxCalls } = options;
  const reader = new ByteReader(channel);
  const own: Context = { ...ctx, signal: AbortSignal.any([ctx.signal, channel.gone]) };
  let calls = 0;
  using _closed = channel;

  async function serve(frame: Frame): Promise<void> {
    const result = await outcome(async () => {
      if (frame.flags !== 0) throw new AppError("streaming", { kind: "unimplemented" });
      if (calls > maxCalls) {
        throw new AppError(`over ${maxCalls} calls`, { kind: "resource-exhausted" });
      }
      return await dispatch(own, fromBinary(RequestSchema, frame.data), service, methods);
    });
    await channel.write(
      encodeFrame({ ...frame, type: FrameType.response, flags: 0, data: result }),
    );
  }

  for (;;) {
    const frame = await readFrame(reader);
    if (frame === undefined) return;
    if (frame.type !== FrameType.request || frame.stream % 2 === 0) {
      throw invalidArgument(`ttrpc: a frame of type ${frame.type} on stream ${frame.stream}`);
    }
    calls += 1;
    // The peer does not even read that it is refused.
    if (calls > 2 * maxCalls) throw invalidArgument(`ttrpc: ${calls} calls at once`);
    void serve(frame)
      .catch((err) => ctx.log.debug("ttrpc call failed", { err: describe(err) }))
      .finally(() => {
        calls -= 1;
      });
  }
}

/** The encoded response, whatever happened. */
async function outcome(run: () => Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return toBinary(ResponseSchema, create(ResponseSchema, { payload: await run() }));
  } catch (err) {
    return toBinary(ResponseSchema, create(ResponseSchema, { status: toStatus(err) }));
  }
}

async function dispatch<Service extends DescService>(
  ctx: Context,
  request: Request,
  service: Service,
  methods: TtrpcService<Service>,
): Promise<Uint8Array> {
  const method = service.methods.find(({ name }) => name === request.method);
  const run = method === undefined ? undefined : methods[method.localName];
  if (request.service !== service.typeName || method === undefined || run === undefined) {
    const name = `${request.service}/${request.method}`.slice(0, 200);
    throw new AppError(`ttrpc: no method ${name}`, { kind: "unimplemented" });
  }
  const timeoutMs = Math.min(Number(request.timeoutNano) / 1e6, maxTimeoutMs);
  const signal =
    timeoutMs > 0 ? AbortSignal.any([ctx.signal, AbortSignal.timeout(timeoutMs)]) : ctx.signal;
  const input = parse(method.input, request.payload);
  const output = await run({ ...ctx, signal }, input as never);
  return toBinary(method.output, create(method.output, output));
}

function parse(schema: DescMessage, payload: Uint8Array) {
  try {
    return fromBinary(schema, payload);
  } catch (cause) {
    throw invalidArgument(`ttrpc: not a ${schema.typeName}`, cause);
  }
}
