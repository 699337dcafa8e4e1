import type { ErrorKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";

/** How much one layer may be. How well it is compressed is no matter: honest layers are holes and zeros for gigabytes. */
export interface LayerLimits {
  /** `images.max_layer_entries` */
  readonly entries: number;
  /** `images.max_layer_bytes`: uncompressed, and each file with its holes. */
  readonly uncompressedBytes: number;
  /** `images.keep_free_percent` of the layers' file system. */
  readonly keepFreePercent: number;
}

export const layerLimits: LayerLimits = {
  entries: 2_000_000,
  uncompressedBytes: 2 ** 40,
  keepFreePercent: 1,
};

/** For a child's command line. */
export function formatLimits(limits: LayerLimits): string {
  return `${limits.entries},${limits.uncompressedBytes},${limits.keepFreePercent}`;
}

/** The usual ones where none are given. */
export function parseLimits(text: string | undefined): LayerLimits {
  if (text === undefined) return layerLimits;
  const [entries = 0, uncompressedBytes = 0, keepFreePercent = 0] = text.split(",").map(Number);
  return { entries, uncompressedBytes, keepFreePercent };
}

/** What was written, and what still wants the layers below. Names are latin1 strings, one character a byte. */
export interface TreeReport {
  readonly entries: number;
  readonly inodes: number;
  /** Disk space: whole blocks of files, and what directories take. */
  readonly sizeBytes: number;
  /** Attributes that its files cannot have here. latin1. */
  readonly leftOut: readonly string[];
  /** The archive says itself what the root directory is like. */
  readonly hasRootEntry: boolean;
  /** Nothing of the layers below shows. */
  readonly isRootOpaque: boolean;
  /** Directories that the archive left out: they take mode and owner from the layer below. */
  readonly implied: readonly string[];
  /** Hard links to files that this layer does not have. */
  readonly links: readonly (readonly [name: string, target: string])[];
}

/** What the unpacking child says on stdout when all went well. */
export interface LayerReport extends TreeReport {
  readonly diffId: Digest;
  readonly uncompressedBytes: number;
}

/** And when not. */
export interface UnpackFailure {
  readonly kind: ErrorKind;
  readonly error: string;
}
