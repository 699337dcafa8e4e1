import {
  create,
  type DescMessage,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/**
 * Answers a list out of bytes: each object is encoded once in its life. The domain's objects are immutable, so a
 * change of state is a new object and a new encoding. A kubelet asks for each list three times in two seconds.
 *
 * protobuf-es writes a message's unknown fields as they are, so that the answer is an empty message whose items
 * are "unknown" fields with the number of its repeated field.
 */
export class EncodedItems<Item extends object, Desc extends DescMessage> {
  readonly #cache = new WeakMap<Item, Uint8Array>();
  readonly #schema: Desc;
  readonly #toMessage: (item: Item) => MessageInitShape<Desc>;

  constructor(schema: Desc, toMessage: (item: Item) => MessageInitShape<Desc>) {
    this.#schema = schema;
    this.#toMessage = toMessage;
  }

  /** Puts `items` into repeated field `no` of `list`, which is empty. */
  fill<List extends Message>(list: List, no: number, items: readonly Item[]): List {
    list.$unknown = items.map((item) => ({
      no,
      wireType: WireType.LengthDelimited,
      data: this.#encoded(item),
    }));
    return list;
  }

  /** With its length in front, as a field holds it. */
  #encoded(item: Item): Uint8Array {
    const cached = this.#cache.get(item);
    if (cached !== undefined) return cached;
    const message = create(this.#schema, this.#toMessage(item));
    const bytes = new BinaryWriter().bytes(toBinary(this.#schema, message)).finish();
    this.#cache.set(item, bytes);
    return bytes;
  }
}
