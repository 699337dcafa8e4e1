import { AppError } from "../lib/errors.ts";
import type { Channel } from "./channel.ts";

/** Takes bytes off a channel in the pieces that a protocol is made of. */
export class ByteReader {
  readonly #channel: Pick<Channel, "read">;
  #rest: Uint8Array = new Uint8Array();

  constructor(channel: Pick<Channel, "read">) {
    this.#channel = channel;
  }

  /** Exactly `length` bytes; `undefined` when the peer ended the connection before the first of them. */
  async take(length: number): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.byteLength === 0) {
        const more = await this.#channel.read();
        if (more === undefined) {
          if (missing === length) return undefined;
          throw new AppError("the connection ended in the middle of a message", {
            kind: "unavailable",
          });
        }
        this.#rest = more;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.byteLength);
      missing -= part.byteLength;
      parts.push(part);
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }
}
