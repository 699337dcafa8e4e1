import { chmodSync } from "node:fs";
import { handlersFor, SocketStream } from "../../os/socket/socket-stream.ts";

/** Lets plugins connect. The way is free for a socket at `path`; only root may use it. */
export function listenForPlugins(
  path: string,
  onConnection: (connection: SocketStream) => void,
): Disposable {
  const listener = Bun.listen({
    unix: path,
    allowHalfOpen: true,
    socket: handlersFor(() => {
      const connection = new SocketStream();
      onConnection(connection);
      return connection;
    }),
  });
  chmodSync(path, 0o600);
  return { [Symbol.dispose]: () => listener.stop() };
}
