import { existsSync, readdirSync, statSync } from "node:fs";
import { resolve } from "node:path";

const cache = resolve(import.meta.dir, "../../.cache/embed");

/**
 * Where the last build has taken a part of the executable from: it touches what it takes, and what it takes is what its
 * versions and sources ask for. Parts for other processors have other names.
 */
export function findBuiltDirectory(name: string, directory: string = cache): string | undefined {
  if (!existsSync(directory)) return undefined;
  const isPart = new RegExp(`^${name}-[0-9a-f]{16}$`);
  return readdirSync(directory)
    .filter((entry) => isPart.test(entry))
    .map((entry) => `${directory}/${entry}`)
    .sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)
    .at(-1);
}

/** A file of it. */
export function findBuilt(name: string, file: string): string {
  const directory = findBuiltDirectory(name);
  if (directory === undefined) throw new Error(`${name} is not built: run \`npm run build\``);
  return `${directory}/${file}`;
}
