import { connect, createServer } from "node:net";
import { nodeAddress } from "./node.ts";

/** Hands connections to a port of the node on to a socket, where gRPC's health service is. */
export async function startHealthProxy(
  socket: string,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((client) => {
    const upstream = connect(socket);
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy());
    upstream.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, nodeAddress, resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
