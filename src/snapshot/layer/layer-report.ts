import type { ErrorKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";

/** How much one layer may be. */
export interface LayerLimits {
  readonly entries: number;
  readonly expandedBytes: number;
  /** Expanded to compressed, looked at after `ratioFromBytes`. */
  readonly ratio: number;
  readonly ratioFromBytes: number;
}

export const layerLimits: LayerLimits = {
  entries: 2_000_000,
  expandedBytes: 100 * 2 ** 30,
  ratio: 1000,
  ratioFromBytes: 100 << 20,
};

/** What was written, and what still wants the layers below. Names are latin1 strings, one character a byte. */
export interface TreeReport {
  readonly entries: number;
  readonly inodes: number;
  /** Disk space: whole blocks of files, and what directories take. */
  readonly sizeBytes: number;
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
  readonly expandedBytes: number;
}

/** And when not. */
export interface UnpackFailure {
  readonly kind: ErrorKind;
  readonly error: string;
}
