import { AppError } from "../lib/errors.ts";
import { type Digest, Digester } from "../oci/digest.ts";

/**
 * The same bytes, and an error instead of the end unless they are exactly what `expected` says. A reader that has seen
 * the end knows that all it got was right; one that has not knows nothing.
 */
export async function* verifiedStream(
  source: AsyncIterable<Uint8Array>,
  expected: { readonly digest: Digest; readonly sizeBytes: number },
  onProgress: (bytes: number) => void = () => {},
): AsyncGenerator<Uint8Array> {
  const hash = new Digester();
  let sizeBytes = 0;
  for await (const chunk of source) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > expected.sizeBytes)
      throw wrong(expected.digest, `over ${expected.sizeBytes} bytes`);
    hash.update(chunk);
    yield chunk;
    onProgress(chunk.byteLength);
  }
  if (sizeBytes !== expected.sizeBytes) {
    throw wrong(expected.digest, `${sizeBytes} of ${expected.sizeBytes} bytes`);
  }
  const digest = hash.digest();
  if (digest !== expected.digest) throw wrong(expected.digest, `the bytes are ${digest}`);
}

function wrong(digest: Digest, why: string): AppError {
  return new AppError(`blob ${digest}: ${why}`, { kind: "data-loss" });
}

/** The verified bytes at once, for what is small. */
export async function readVerified(
  source: AsyncIterable<Uint8Array>,
  expected: { readonly digest: Digest; readonly sizeBytes: number },
  maxBytes: number,
): Promise<Buffer> {
  if (expected.sizeBytes > maxBytes) {
    throw new AppError(`blob ${expected.digest}: ${expected.sizeBytes} bytes, over ${maxBytes}`, {
      kind: "resource-exhausted",
    });
  }
  return Buffer.concat(await Array.fromAsync(verifiedStream(source, expected)));
}
