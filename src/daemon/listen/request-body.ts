import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { abortable } from "../../lib/abortable.ts";
import type { ByteBudget } from "../../lib/byte-budget.ts";

/** Requests up to this size are not counted: nearly all are smaller, and an exec probe waits for nobody. */
export const smallBytes = 64 << 10;
/** What is left of a request of this size is collected before there is room for the next one. No kubelet sends such. */
const collectBytes = 1 << 20;
/** For room, and then for the bytes. Clients are on this node. */
const patienceMs = 30_000;
/** Fields and elements in one large request; each becomes an object of some hundred bytes. */
const maxValues = 500_000;
/** CRI's messages are not as deep. */
const maxDepth = 16;
const prefixBytes = 5;

/**
 * The body of a gRPC request that is one message. A large message is not read before there is room for all of it: the connection's
 * flow control keeps it at the client. `held` keeps the room until the call has returned.
 */
export async function* limitedBody(
  body: AsyncIterable<Uint8Array>,
  options: {
    readonly budget: ByteBudget;
    readonly maxBytes: number;
    readonly input: DescMessage;
    readonly signal: AbortSignal;
    readonly held: DisposableStack;
  },
): AsyncIterable<Uint8Array> {
  const source = body[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.byteLength < prefixBytes) {
    const { done, value } = await source.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  const size = head.byteLength < prefixBytes ? 0 : head.readUInt32BE(1);
  const end = prefixBytes + size;
  let got = head.byteLength;
  if (size > options.maxBytes) {
    throw exhausted(`request of ${size} bytes: more than ${options.maxBytes}`);
  }
  if (size > smallBytes) {
    const whole = await readWhole(source, head, end, options);
    checkValues(options.input, whole.subarray(prefixBytes, end));
    got = whole.byteLength;
    yield whole;
  } else if (got > 0) {
    yield head;
  }
  // There is only one message: of what follows it one piece is enough to be refused for.
  for (;;) {
    if (got > end) return;
    const { done, value } = await source.next();
    if (done === true) return;
    got += value.byteLength;
    yield value;
  }
}

async function readWhole(
  source: AsyncIterator<Uint8Array>,
  head: Buffer,
  end: number,
  options: Pick<Parameters<typeof limitedBody>[1], "budget" | "signal" | "held">,
): Promise<Buffer> {
  const patience = AbortSignal.timeout(patienceMs);
  const signal = AbortSignal.any([options.signal, patience]);
  let step = "too many large requests are in progress: try again";
  try {
    const room = await options.budget.take(end - prefixBytes, signal);
    if (options.held.disposed) {
      room[Symbol.dispose]();
      throw exhausted("the call has ended");
    }
    options.held.use(room);
    // The room is free when the memory is, and the collector does not hurry on a node with much of it.
    if (end > collectBytes) options.held.defer(() => Bun.gc(true));
    step = "the request did not arrive whole";
    const whole = Buffer.allocUnsafeSlow(end);
    let got = 0;
    for (let chunk: Uint8Array = head; ; ) {
      if (got + chunk.byteLength > end) throw new ConnectError("two messages", Code.Unimplemented);
      whole.set(chunk, got);
      got += chunk.byteLength;
      if (got === end) return whole;
      const { done, value } = await abortable(source.next(), signal);
      if (done === true) return whole.subarray(0, got);
      chunk = value;
    }
  } catch (err) {
    if (!patience.aborted) throw err;
    throw exhausted(`${step} (${patienceMs / 1000} s)`, err);
  }
}

function exhausted(message: string, cause?: unknown): ConnectError {
  return new ConnectError(message, Code.ResourceExhausted, undefined, undefined, cause);
}

/** Before it is decoded: a message of empty messages would take a hundred times its size. */
function checkValues(input: DescMessage, bytes: Uint8Array): void {
  let left = maxValues;
  const take = (count: number) => {
    left -= count;
    if (left < 0) throw exhausted(`more than ${maxValues} values in a request`);
  };
  const numbered = new Map<DescMessage, ReadonlyMap<number, DescField>>();
  const walk = (message: DescMessage, part: Uint8Array, depth: number) => {
    const fields =
      numbered.get(message) ?? new Map(message.fields.map((field) => [field.number, field]));
    numbered.set(message, fields);
    const reader = new BinaryReader(part);
    while (reader.pos < reader.len) {
      take(1);
      const [number, type] = reader.tag();
      const field = fields.get(number);
      if (type !== WireType.LengthDelimited || field === undefined) {
        reader.skip(type, number);
        continue;
      }
      const value = reader.bytes();
      if (field.fieldKind !== "map" && field.message !== undefined) {
        if (depth > 0) walk(field.message, value, depth - 1);
      } else if (isPacked(field)) {
        take(value.byteLength);
      }
    }
  };
  try {
    walk(input, bytes, maxDepth);
  } catch (err) {
    // Whoever decodes it says what is wrong with it.
    if (err instanceof ConnectError) throw err;
  }
}

/** A list of numbers, each of which may be one byte. */
function isPacked(field: DescField): boolean {
  if (field.fieldKind !== "list") return false;
  return field.listKind === "enum" || (field.listKind === "scalar" && !isText(field.scalar));
}

function isText(scalar: ScalarType): boolean {
  return scalar === ScalarType.STRING || scalar === ScalarType.BYTES;
}
