import { connect } from "node:net";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

/** gRPC over a Unix socket, one connection kept open; for `createClient(RuntimeService, ...)`. */
export function connectTransport(socketPath: string): Transport {
  return createGrpcTransport({
    baseUrl: "http://localhost",
    // Megabytes of messages under way, after which the client refuses its own calls (ENHANCE_YOUR_CALM); 10 unless told.
    nodeOptions: { maxSessionMemory: 512, createConnection: () => connect(socketPath) },
  });
}
