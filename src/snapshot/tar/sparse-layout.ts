import { invalidArgument } from "../../lib/errors.ts";
import type { PaxRecords } from "./pax.ts";
import { malformedMap, regionsOf, type SparseLayout } from "./sparse-map.ts";

/**
 * How the holes of a member lie by GNU's PAX records; undefined for an ordinary file. Format 1.0 gives size and name, and
 * the map begins the data; 0.1 has the map in one record, 0.0 in a pair of records for each region.
 */
export function paxSparseLayout(pax: PaxRecords): SparseLayout | undefined {
  const { sparseMajor, sparseMinor, sparseName, sparseSizeBytes, sparseCount, sparseNumbers } = pax;
  const given = [sparseMajor, sparseMinor, sparseName, sparseSizeBytes, sparseCount, sparseNumbers];
  if (given.every((field) => field === undefined)) return undefined;
  if (sparseSizeBytes === undefined) throw invalidArgument("sparse file without its size");
  const version = `${sparseMajor ?? 0}.${sparseMinor ?? 0}`;
  if (version === "1.0") {
    if (sparseNumbers !== undefined) throw malformedMap();
    return { sizeBytes: sparseSizeBytes, regions: undefined };
  }
  if (version !== "0.0" && version !== "0.1") {
    throw invalidArgument(`sparse file in a format ${version}`);
  }
  const numbers = sparseNumbers ?? [];
  if (sparseCount !== numbers.length / 2) throw malformedMap();
  return { sizeBytes: sparseSizeBytes, regions: regionsOf(numbers, sparseSizeBytes) };
}
