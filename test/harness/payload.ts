import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { resolve } from "node:path";

export const executable = resolve(import.meta.dir, "../../dist/crib");
/** CRIB_DATA of all tests: one extraction serves them. */
export const dataDir = resolve(import.meta.dir, "../../.cache/crib-data");

/** Where the executable has extracted its parts; makes it do so. */
export function payloadDir(): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const run = Bun.spawnSync([executable, "version"], { env: { CRIB_DATA: dataDir } });
  if (run.exitCode !== 0) throw new Error(`crib version: ${run.stderr}`);
  const newest = readdirSync(`${dataDir}/bin`)
    .map((name) => `${dataDir}/bin/${name}`)
    .filter((dir) => existsSync(`${dir}/crib`))
    .sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)
    .at(-1);
  if (newest === undefined) throw new Error("the executable has extracted nothing");
  return newest;
}
