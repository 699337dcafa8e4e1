import { createHash } from "node:crypto";
import { cachedBytes, forgetUnused } from "./cache.ts";
import type { PayloadFile } from "./parts/part.ts";
import { type Patch, patchesOf } from "./private-libraries.ts";
import { tarEnd, tarHeader, tarPadding } from "./tar.ts";

/** What the launcher (launcher/payload.go) checks the unpacked files against. */
export interface Manifest {
  readonly version: string;
  readonly parts: Readonly<Record<string, string>>;
  /** How much of a file each of its pieces has, but for the last. */
  readonly pieceSize: number;
  readonly files: readonly ManifestEntry[];
}

type ManifestEntry =
  | {
      readonly path: string;
      readonly mode: string;
      readonly size: number;
      readonly sha256: string;
      /** SHA-256 of its parts, which the launcher compares at the same time. */
      readonly pieces: readonly string[];
      readonly patches?: readonly Patch[];
    }
  | { readonly path: string; readonly link: string };

const magic = "crib payload v1\n";
const level = 19;

/**
 * Long enough that cutting costs 1 % of the ratio, short enough that both cores have work and that a changed program
 * does not mean compressing all of it again.
 */
const pieceSize = 16 << 20;

/** Of a file that is verified: small enough that all processors have work to the end. */
const verifiedSize = 4 << 20;

/** Everything that follows the launcher in the executable: tar.zst, manifest, trailer. */
export async function packPayload(
  files: readonly PayloadFile[],
  about: Pick<Manifest, "version" | "parts">,
  loader: string,
): Promise<Uint8Array> {
  const entries: ManifestEntry[] = [];
  const archive = new PieceCutter();
  for (const file of files) {
    if ("link" in file) {
      entries.push(file);
      archive.add(tarHeader({ type: "symlink", path: file.path, target: file.link }));
      continue;
    }
    const content = await Bun.file(file.source).bytes();
    const patches = patchesOf(content, loader);
    entries.push({
      path: file.path,
      mode: file.mode,
      size: content.length,
      sha256: sha256(content),
      pieces: piecesOf(content).map(sha256),
      ...(patches.length > 0 && { patches }),
    });
    const mode = Number.parseInt(file.mode, 8);
    archive.add(tarHeader({ type: "file", path: file.path, mode, content }));
    archive.add(content, file.seams);
    archive.add(tarPadding(content.length));
  }
  archive.add(tarEnd);
  const compressed = await Promise.all(archive.pieces().map(compress));
  await forgetUnused("pieces");

  const manifest = Buffer.from(
    JSON.stringify({ ...about, pieceSize: verifiedSize, files: entries } satisfies Manifest),
  );
  const archiveSize = compressed.reduce((total, { length }) => total + length, 0);
  const trailer = Buffer.alloc(16);
  trailer.writeBigUInt64LE(BigInt(archiveSize), 0);
  trailer.writeBigUInt64LE(BigInt(manifest.length), 8);
  const manifestDigest = createHash("sha256").update(manifest).digest();
  return Buffer.concat([...compressed, manifest, trailer, manifestDigest, Buffer.from(magic)]);
}

function piecesOf(content: Uint8Array): readonly Uint8Array[] {
  const count = Math.ceil(content.length / verifiedSize);
  return Array.from({ length: count }, (_, i) =>
    content.subarray(i * verifiedSize, (i + 1) * verifiedSize),
  );
}

function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** One zstd frame. Frames in a row are one zstd stream, so that the archive stays an ordinary tar.zst. */
async function compress(piece: Uint8Array): Promise<Uint8Array> {
  const key = createHash("sha256").update(piece).digest("hex");
  return await cachedBytes(
    "pieces",
    `${key}.zst`,
    async () => await Bun.zstdCompress(piece, { level }),
  );
}

/** Cuts a stream of bytes into pieces that begin where something that changes alone begins. */
class PieceCutter {
  readonly #pieces: Uint8Array[] = [];
  #open: Uint8Array[] = [];
  #openSize = 0;

  add(bytes: Uint8Array, seams: readonly number[] = []): void {
    const isLarge = bytes.length >= pieceSize / 4;
    if (isLarge) this.#cut();
    const ends = [...seams, bytes.length];
    let at = 0;
    for (const end of ends) {
      while (at < end) {
        const next = Math.min(end, at + pieceSize - this.#openSize);
        this.#open.push(bytes.subarray(at, next));
        this.#openSize += next - at;
        at = next;
        if (this.#openSize === pieceSize) this.#cut();
      }
      if (at < bytes.length) this.#cut();
    }
    if (isLarge) this.#cut();
  }

  pieces(): readonly Uint8Array[] {
    this.#cut();
    return this.#pieces;
  }

  #cut(): void {
    if (this.#openSize > 0) this.#pieces.push(Buffer.concat(this.#open));
    this.#open = [];
    this.#openSize = 0;
  }
}
