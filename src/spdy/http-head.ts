import { AppError } from "../lib/errors.ts";
import type { ByteChannel } from "./byte-channel.ts";

const maxHeadBytes = 16 * 1024;
const headEnd = Buffer.from("\r\n\r\n");

/** Everything in front of the empty line of an HTTP/1.1 request or response, and what came after it. */
export async function readHead(
  channel: Pick<ByteChannel, "read">,
): Promise<{ readonly text: string; readonly rest: Buffer }> {
  let received: Buffer = Buffer.alloc(0);
  for (;;) {
    const at = received.indexOf(headEnd);
    if (at >= 0 && at <= maxHeadBytes) {
      const text = received.toString("latin1", 0, at);
      return { text, rest: received.subarray(at + headEnd.byteLength) };
    }
    if (received.byteLength > maxHeadBytes) {
      throw new AppError("HTTP head too long", { kind: "resource-exhausted" });
    }
    const chunk = await channel.read();
    if (chunk === undefined) throw new AppError("no HTTP head came", { kind: "cancelled" });
    received = Buffer.concat([received, chunk]);
  }
}
