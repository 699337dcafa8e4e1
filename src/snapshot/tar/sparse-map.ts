import { AppError, invalidArgument } from "../../lib/errors.ts";

/** Where a stretch of data belongs in a file with holes. */
export interface Region {
  readonly offset: number;
  readonly length: number;
}

/** A file with holes, as its archive describes it. */
export interface SparseLayout {
  /** With the holes. */
  readonly sizeBytes: number;
  /** Undefined where the map begins the data (GNU's format 1.0, sparse-file.ts). */
  readonly regions: readonly Region[] | undefined;
}

export const maxRegions = 100_000;

/** Offset and length in turn, checked: in order, without overlap, inside of the file. Empty regions are left out. */
export function regionsOf(numbers: readonly number[], sizeBytes: number): readonly Region[] {
  if (numbers.length > 2 * maxRegions) throw tooManyRegions(numbers.length / 2);
  if (numbers.length % 2 !== 0) throw malformedMap();
  const regions: Region[] = [];
  let end = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset = 0, length = 0] = [numbers[i], numbers[i + 1]];
    if (offset < end || length < 0 || offset + length > sizeBytes) throw malformedMap();
    end = offset + length;
    if (length > 0) regions.push({ offset, length });
  }
  return regions;
}

export function tooManyRegions(count: number): AppError {
  return new AppError(`sparse file of ${count} regions`, { kind: "resource-exhausted" });
}

export function malformedMap(): AppError {
  return invalidArgument("malformed map of a sparse file");
}
