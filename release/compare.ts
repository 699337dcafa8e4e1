/**
 * Whether two releases of one commit are the same: `bun release/compare.ts DIR DIR`, made in two clones, for which nothing
 * is shared. Exit code 1, and the names, where they are not.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";

const [first = "", second = ""] = process.argv.slice(2);
const names = new Set([...(await readdir(first)), ...(await readdir(second))]);
const different: string[] = [];
for (const name of [...names].sort()) {
  const [one, other] = [Bun.file(join(first, name)), Bun.file(join(second, name))];
  const isSame =
    (await one.exists()) &&
    (await other.exists()) &&
    Buffer.from(await one.bytes()).equals(Buffer.from(await other.bytes()));
  if (!isSame) different.push(name);
  console.log(`${isSame ? "same     " : "different"} ${name}`);
}
process.exit(different.length === 0 ? 0 : 1);
