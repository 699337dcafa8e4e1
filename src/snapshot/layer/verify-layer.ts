import { AppError, describe, kindOf } from "../../lib/errors.ts";
import { type Digest, Digester } from "../../oci/digest.ts";
import { rebuildLayer } from "../recipe/rebuild-layer.ts";
import type { RecipeFiles } from "../recipe/recipe-recorder.ts";
import { TarReader } from "../tar/tar-reader.ts";
import { TreeChecker } from "./tree-checker.ts";

/** What the verifying child found. */
export interface LayerFinding {
  /** Undefined when all that the archive says is true. */
  readonly problem: string | undefined;
  /** Files that are not from the archive, but from the layers below, if from anywhere. latin1, one character a byte. */
  readonly extras: readonly string[];
}

/**
 * Makes the archive of the layer in "/" again, and compares: its digest with the diffID, which covers the contents of
 * all files, and its entries with the files, but for attributes that were left out.
 */
export function verifyLayer(
  recipe: RecipeFiles,
  diffId: Digest,
  leftOut: ReadonlySet<string> = new Set(),
): LayerFinding {
  const checker = new TreeChecker(leftOut);
  const reader = new TarReader(checker);
  const hash = new Digester();
  try {
    rebuildLayer(recipe, (bytes) => {
      hash.update(bytes);
      reader.write(bytes);
    });
    reader.finish();
    const found = hash.digest();
    const extras = checker.check();
    if (found === diffId) return { problem: undefined, extras };
    throw new AppError(`content has changed: it is ${found}`, { kind: "data-loss" });
  } catch (err) {
    if (kindOf(err) === "resource-exhausted") throw err;
    return { problem: describe(err), extras: [] };
  }
}
