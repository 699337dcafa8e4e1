import { spdyHeaders, type TransportName } from "./command-client.ts";
import type { Received } from "./received.ts";
import { SpdyClient } from "./spdy-client.ts";
import { openTunnel, upgrade } from "./transport.ts";

/** One connection to a port of a pod. */
export interface Forwarded {
  readonly received: Received;
  /** What the server has to say against it; ends empty when all went well. */
  readonly error: Received;
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

/** A client of port-forward, like kubectl. */
export class ForwardClient implements Disposable {
  readonly spdy: SpdyClient;
  #requests = 0;

  private constructor(spdy: SpdyClient) {
    this.spdy = spdy;
  }

  static async open(transport: TransportName, url: string): Promise<ForwardClient> {
    if (transport === "websocket") {
      return new ForwardClient(
        new SpdyClient(await openTunnel(url, "SPDY/3.1+portforward.k8s.io")),
      );
    }
    const offer = "X-Stream-Protocol-Version: portforward.k8s.io";
    const { transport: bytes } = await upgrade(url, [...spdyHeaders, offer]);
    return new ForwardClient(new SpdyClient(bytes));
  }

  async dial(port: number): Promise<Forwarded> {
    const headers = { port: String(port), requestID: String(this.#requests++) };
    const error = await this.spdy.open({ ...headers, streamType: "error" });
    await error.end();
    const data = await this.spdy.open({ ...headers, streamType: "data" });
    return {
      received: data.received,
      error: error.received,
      write: (bytes) => data.write(bytes),
      end: () => data.end(),
    };
  }

  [Symbol.dispose](): void {
    this.spdy[Symbol.dispose]();
  }
}
