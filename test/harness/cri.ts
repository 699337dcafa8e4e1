import { connect } from "node:net";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ImageService, RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";

/** A CRI client as a kubelet is one, over the daemon's socket. */
export interface Cri {
  readonly runtime: Client<typeof RuntimeService>;
  readonly image: Client<typeof ImageService>;
}

export function connectCri(socket: string): Cri {
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => connect(socket) } as object,
  });
  return {
    runtime: createClient(RuntimeService, transport),
    image: createClient(ImageService, transport),
  };
}
