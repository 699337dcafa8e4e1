import { abortable } from "../../lib/abortable.ts";
import { AppError } from "../../lib/errors.ts";
import type { ByteChannel } from "../../spdy/byte-channel.ts";
import type { SpdyStream } from "../../spdy/stream.ts";
import { plain } from "../output/output.ts";
import { dialStream } from "./dial.ts";
import { readErrorStream, readStream } from "./read.ts";

/**
 * Carries one connection to a port of a pod behind the URL of CRI's PortForward, to the end of both directions. Throws
 * what the server says against it, or that one side broke.
 */
export async function forwardConnection(
  signal: AbortSignal,
  url: string,
  local: ByteChannel,
  port: number,
): Promise<void> {
  using connection = await dialStream(signal, url, "portforward.k8s.io");
  const open = (streamtype: string) =>
    connection.spdy.open({ streamtype, port: String(port), requestid: "0" });
  const error = await open("error");
  const data = await open("data");
  const outwards = copyOut(data, local);
  const both = Promise.all([outwards, copyIn(local, data)]);
  // The pod's side is over when it wants to hear nothing more either.
  const over = outwards.then(() => aborted(data.broken));
  await abortable(Promise.race([both, over]), signal).catch(async (err: unknown) => {
    throw data.broken.aborted ? await reasonFor(error, err) : err;
  });
}

/** What the server says on the error stream, where it says something. */
async function reasonFor(error: SpdyStream, failure: unknown): Promise<unknown> {
  const reason = await readErrorStream(error);
  if (reason.byteLength === 0) return failure;
  return new AppError(plain(reason.toString("utf8")), { kind: "unavailable" });
}

async function copyOut(data: SpdyStream, local: ByteChannel): Promise<void> {
  for (let bytes = await readStream(data); bytes; bytes = await readStream(data)) {
    await local.write(bytes);
  }
  await local.end();
}

async function copyIn(local: ByteChannel, data: SpdyStream): Promise<void> {
  for (let bytes = await local.read(); bytes; bytes = await local.read()) {
    try {
      await data.write(bytes);
    } catch {
      return; // the pod wants no more, and may still have something to say
    }
  }
  await data.end();
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
