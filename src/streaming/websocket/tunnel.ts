import type { ByteChannel } from "../../spdy/byte-channel.ts";
import type { WebSocketConnection } from "./connection.ts";

/** SPDY inside of a WebSocket: what is in the messages, one after the other; where they begin and end means nothing. */
export function tunnel(websocket: WebSocketConnection): ByteChannel {
  return {
    gone: websocket.gone,
    async read() {
      for (;;) {
        const piece = await websocket.read();
        if (piece === undefined || piece.bytes.byteLength > 0) return piece?.bytes;
      }
    },
    write: (bytes) => websocket.send(bytes),
    end: () => websocket.end(),
  };
}
