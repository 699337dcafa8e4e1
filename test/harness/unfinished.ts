import { readdirSync } from "node:fs";

/**
 * What pulls and imports have left in the snapshotter's temporary directory. The directories of children that wait a
 * moment for a further small layer (`series-*`) do not count: they go by themselves.
 */
export function unfinished(layersDirectory: string): readonly string[] {
  return readdirSync(`${layersDirectory}/tmp`).filter((name) => !name.startsWith("series-"));
}
