/** What the daemon sends to a child that unpacks layers in a row: name, size, the layer's bytes. */
export interface SeriesOrder {
  /** Of the layer's directory. */
  readonly name: string;
  readonly sizeBytes: number;
}

const seriesNamePattern = /^[0-9a-f]{16}$/;

const nameBytes = 16;
export const orderBytes = nameBytes + 4;

export function encodeOrder({ name, sizeBytes }: SeriesOrder): Buffer {
  if (!seriesNamePattern.test(name)) throw new TypeError("not a name for a layer in a series");
  const order = Buffer.alloc(orderBytes);
  order.write(name, "latin1");
  order.writeUInt32LE(sizeBytes, nameBytes);
  return order;
}

export function decodeOrder(order: Buffer): SeriesOrder {
  return {
    name: order.toString("latin1", 0, nameBytes),
    sizeBytes: order.readUInt32LE(nameBytes),
  };
}
