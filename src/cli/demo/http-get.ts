import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { AppError } from "../../lib/errors.ts";

/** The body that `http://host:port/` returns. Not fetch(), which would ask the proxy that the environment names. */
export async function httpGet(host: string, port: number, signal: AbortSignal): Promise<string> {
  const socket = connect({ host, port });
  const abort = () => socket.destroy(new Error("cancelled"));
  signal.addEventListener("abort", abort, { once: true });
  socket.setTimeout(5000, () => socket.destroy(new Error(`no response from ${host}`)));
  socket.write("GET / HTTP/1.0\r\n\r\n");
  const answer = await text(socket);
  signal.removeEventListener("abort", abort);
  const head = answer.indexOf("\r\n\r\n");
  if (!/^HTTP\/1\.[01] 200 /.test(answer) || head < 0) {
    throw new AppError(`${host}:${port} returned ${JSON.stringify(answer.slice(0, 60))}`, {
      kind: "internal",
    });
  }
  return answer.slice(head + 4);
}
