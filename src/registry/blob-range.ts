import type { Context } from "../lib/context.ts";
import { AppError } from "../lib/errors.ts";
import type { ByteRange, Descriptor } from "../oci/descriptor.ts";
import type { HostClient } from "./host-client.ts";
import { Progress } from "./progress.ts";
import { RegistryError } from "./registry-error.ts";

/** A host's response to the request for a range of a blob. */
export interface RangeResponse {
  /** False where the host does not know ranges and sends the whole blob. */
  readonly isPartial: boolean;
  /** The bytes from where the range starts on, whatever the host began with; up to the end of the blob where it is not partial. */
  readonly bytes: AsyncGenerator<Uint8Array>;
}

/**
 * Asks one host for bytes of a blob. No If-Range: the name of a blob is its digest, so replicas that differ in their
 * ETag do not make what we have wrong, and if bytes are wrong the digest shows it.
 */
export async function openRange(
  ctx: Context,
  client: HostClient,
  blob: Descriptor,
  range: ByteRange,
  stallMs: number,
): Promise<RangeResponse> {
  const what = `blob ${blob.digest}`;
  const progress = new Progress(stallMs);
  const isWhole = range.start === 0 && range.end === blob.sizeBytes;
  const response = await client.get(ctx, `blobs/${blob.digest}`, {
    headers: isWhole ? {} : { range: `bytes=${range.start}-${range.end - 1}` },
    signal: progress.signal,
  });
  const isPartial = response.status === 206;
  const begin = isPartial ? range.start : 0;
  if (isPartial && startOf(response) !== range.start) {
    await response.body?.cancel();
    throw new AppError(`${what}: another range than asked for`, { kind: "data-loss" });
  }
  const end = isPartial ? range.end : blob.sizeBytes;
  const length = response.headers.get("content-length");
  if (length !== null && Number(length) !== end - begin) {
    await response.body?.cancel();
    throw new AppError(`${what}: ${length} bytes and not ${end - begin}`, { kind: "data-loss" });
  }
  const body = progress.watch(response.body, what);
  return { isPartial, bytes: cut(body, { begin, start: range.start, end }, what) };
}

/** The bytes from `start` to `end` of a body that begins at `begin`, which must be as long as it should be. */
async function* cut(
  body: AsyncGenerator<Uint8Array>,
  { begin, start, end }: { readonly begin: number; readonly start: number; readonly end: number },
  what: string,
): AsyncGenerator<Uint8Array> {
  let at = begin;
  for await (const chunk of body) {
    const skip = Math.min(chunk.byteLength, Math.max(0, start - at));
    at += chunk.byteLength;
    if (at > end) throw new AppError(`${what}: over ${end} bytes`, { kind: "data-loss" });
    if (skip < chunk.byteLength) yield chunk.subarray(skip);
    // All is here, whether or not the host comes to an end.
    if (at === end) return;
  }
  if (at < end) throw new RegistryError(`${what}: ends after ${at} of ${end} bytes`, 0);
}

function startOf(response: Response): number {
  const range = /^bytes (\d{1,15})-/.exec(response.headers.get("content-range") ?? "");
  return Number(range?.[1]);
}
