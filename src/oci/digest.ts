import type { Brand } from "../lib/brand.ts";
import { invalidArgument } from "../lib/errors.ts";

/** `sha256:` and 64 lower-case hex digits (OCI image-spec, descriptor). Only this file makes one. */
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
  const hash = new Digester();
  hash.update(bytes);
  return hash.digest();
}

/** The digest of what comes piece by piece. */
export class Digester {
  readonly #hash = new Bun.CryptoHasher("sha256");

  update(bytes: Uint8Array | string): void {
    this.#hash.update(bytes);
  }

  /** Of all that was given. Nothing more can be given after it. */
  digest(): Digest {
    return `sha256:${this.#hash.digest("hex")}` as Digest;
  }
}

/** The hex digits: a safe file name. */
export function digestHex(digest: Digest): string {
  return digest.slice("sha256:".length);
}
