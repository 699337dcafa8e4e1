import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import { AppError } from "../lib/errors.ts";
import { type Digest, digestHex, digestOf, isDigest } from "../oci/digest.ts";

/**
 * Small blobs by digest, one file each: manifests and image configs. With them an image can be given on exactly as it
 * came. A blob is there whole or not at all.
 */
export class ContentStore {
  readonly #directory: string;

  /** `directory` is made if missing. */
  constructor(directory: string) {
    this.#directory = join(directory, "sha256");
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#directory)) {
      if (name.endsWith(".tmp")) rmSync(join(this.#directory, name), { force: true });
    }
  }

  put(bytes: Uint8Array): Digest {
    const digest = digestOf(bytes);
    if (!existsSync(this.#path(digest))) writeFileAtomically(this.#path(digest), bytes);
    return digest;
  }

  /** Verified again: a damaged blob is an error, never wrong bytes. */
  get(digest: Digest): Buffer {
    const bytes = readFileSync(this.#path(digest));
    if (digestOf(bytes) === digest) return bytes;
    throw new AppError(`blob ${digest} is damaged on disk`, { kind: "data-loss" });
  }

  remove(digest: Digest): void {
    rmSync(this.#path(digest), { force: true });
  }

  list(): readonly Digest[] {
    return readdirSync(this.#directory)
      .map((name) => `sha256:${name}`)
      .filter(isDigest);
  }

  #path(digest: Digest): string {
    return join(this.#directory, digestHex(digest));
  }
}
