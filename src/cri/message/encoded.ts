import {
  create,
  type DescMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/*
 * Lists are made of the bytes of their items. protobuf-es writes a message's unknown fields as they are: the
 * response is an empty message whose items are "unknown" fields with the number of its repeated field.
 */

/** A message with its length in front, as a field holds it. */
export type EncodedItem = Uint8Array;

export function encodeItem<Desc extends DescMessage>(
  schema: Desc,
  init: MessageInitShape<Desc>,
): EncodedItem {
  return new BinaryWriter().bytes(toBinary(schema, create(schema, init))).finish();
}

/** Puts `items` into repeated field `no` of `list`, which is empty. */
export function fillList<List extends Message>(
  list: List,
  no: number,
  items: readonly EncodedItem[],
): List {
  list.$unknown = items.map((data) => ({ no, wireType: WireType.LengthDelimited, data }));
  return list;
}

// gRPC clients take 4 MiB by default; a quarter of it leaves room for the largest item there can be.
const maxBatchBytes = 1 << 20;
const maxBatchItems = 1000;

/** The messages of a streamed list: as few as possible, each of at most 1,000 items and about 1 MiB. No item, no message. */
export function* inBatches<Desc extends DescMessage>(
  schema: Desc,
  no: number,
  items: Iterable<EncodedItem>,
): Generator<MessageShape<Desc>> {
  let batch: EncodedItem[] = [];
  let bytes = 0;
  for (const item of items) {
    const isFull = batch.length === maxBatchItems || bytes + item.byteLength > maxBatchBytes;
    if (isFull && batch.length > 0) {
      yield fillList(create(schema), no, batch);
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += item.byteLength;
  }
  if (batch.length > 0) yield fillList(create(schema), no, batch);
}

/**
 * Encodes each object once in its life. The domain's objects are immutable, so a change of state is a new object and a
 * new encoding. A kubelet asks for each list three times in two seconds.
 */
export class EncodedItems<Item extends object, Desc extends DescMessage> {
  readonly #cache = new WeakMap<Item, EncodedItem>();
  readonly #schema: Desc;
  readonly #toMessage: (item: Item) => MessageInitShape<Desc>;

  constructor(schema: Desc, toMessage: (item: Item) => MessageInitShape<Desc>) {
    this.#schema = schema;
    this.#toMessage = toMessage;
  }

  of(items: readonly Item[]): readonly EncodedItem[] {
    return items.map((item) => this.#encoded(item));
  }

  #encoded(item: Item): EncodedItem {
    const cached = this.#cache.get(item);
    if (cached !== undefined) return cached;
    const bytes = encodeItem(this.#schema, this.#toMessage(item));
    this.#cache.set(item, bytes);
    return bytes;
  }
}
