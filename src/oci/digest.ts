import type { Brand } from "../lib/brand.ts";
import { invalidArgument } from "../lib/errors.ts";

/** `sha256:` and 64 lower-case hex digits (OCI image-spec, descriptor). Only `parseDigest` and `digestOf` make one. */
export type Digest = Brand<string, "Digest">;

const sha256 = /^sha256:[0-9a-f]{64}$/;

export function parseDigest(text: string): Digest {
  if (!sha256.test(text))
    throw invalidArgument(`not a sha256 digest: ${JSON.stringify(text.slice(0, 100))}`);
  return text as Digest;
}

export function isDigest(text: string): text is Digest {
  return sha256.test(text);
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}` as Digest;
}

/** The hex digits: a safe file name. */
export function digestHex(digest: Digest): string {
  return digest.slice("sha256:".length);
}
