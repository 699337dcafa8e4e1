import { backoff } from "../lib/backoff.ts";
import type { Context } from "../lib/context.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { HostClient } from "./host-client.ts";
import { RegistryError } from "./registry-error.ts";

const stallMs = 60_000;
const attemptsWithoutProgress = 4;
const firstBackoffMs = 500;

/**
 * A blob from the first host that has it. A connection that breaks, or says nothing for 60 s, is taken up again where
 * it stopped; after four attempts without a byte the next host goes on from there. Whether the bytes are right is for the reader to verify.
 */
export async function* readBlob(
  ctx: Context,
  clients: readonly HostClient[],
  blob: Descriptor,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  let failure: unknown = new RegistryError("no host is configured to pull", 0);
  for (const client of clients) {
    for (let attempt = 1; attempt <= attemptsWithoutProgress; attempt++) {
      try {
        for await (const chunk of readFrom(ctx, client, blob, offset)) {
          offset += chunk.byteLength;
          attempt = 0;
          yield chunk;
        }
        return;
      } catch (err) {
        ctx.signal.throwIfAborted();
        failure = err;
        if (!(err instanceof RegistryError && err.isTransient)) break;
        ctx.log.debug("blob interrupted", { digest: blob.digest, offset, err: describe(err) });
        const next = Math.max(attempt, 1);
        if (next < attemptsWithoutProgress) {
          const atLeastMs = err.retryAfterMs;
          await backoff(next, ctx.signal, { firstMs: firstBackoffMs, atLeastMs });
        }
      }
    }
  }
  throw failure;
}

async function* readFrom(
  ctx: Context,
  client: HostClient,
  blob: Descriptor,
  offset: number,
): AsyncGenerator<Uint8Array> {
  const stall = new AbortController();
  let timer = setTimeout(() => stall.abort(), stallMs);
  const what = `blob ${blob.digest}`;
  try {
    const response = await client.get(ctx, `blobs/${blob.digest}`, {
      headers: offset === 0 ? {} : { range: `bytes=${offset}-` },
      signal: stall.signal,
    });
    let position = positionOf(response, offset, what);
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      // A host that does not know ranges begins anew: what we have is skipped.
      const known = Math.min(chunk.byteLength, Math.max(0, offset - position));
      position += chunk.byteLength;
      if (position > blob.sizeBytes) {
        throw new AppError(`${what}: more than ${blob.sizeBytes} bytes`, { kind: "data-loss" });
      }
      if (known < chunk.byteLength) yield chunk.subarray(known);
      timer = setTimeout(() => stall.abort(), stallMs);
    }
    if (position < blob.sizeBytes) {
      throw new RegistryError(`${what}: ends after ${position} of ${blob.sizeBytes} bytes`, 0);
    }
  } catch (err) {
    if (err instanceof AppError) throw err;
    const why = stall.signal.aborted ? `nothing for ${stallMs} ms` : "connection lost";
    // biome-ignore lint/style/useErrorCause: it may hold a signed URL
    throw new RegistryError(`${what}: ${why}`, 0);
  } finally {
    clearTimeout(timer);
    stall.abort();
  }
}

/** Where the answer begins: a partial one must say that it is the part we asked for. */
function positionOf(response: Response, offset: number, what: string): number {
  if (response.status !== 206) return 0;
  const start = /^bytes (\d{1,15})-/.exec(response.headers.get("content-range") ?? "")?.[1];
  if (Number(start) !== offset) {
    throw new AppError(`${what}: another range than asked for`, { kind: "data-loss" });
  }
  return offset;
}
