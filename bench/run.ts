/**
 * bun bench/run.ts [NAME [OPTIONS]]
 *
 * Runs one benchmark with its options, all of them without any, one after the other. What each measures is said at its
 * head. They need root, dist/crib and, but for `pull`, what `npm test` has set up.
 */
const names = ["pods", "compare", "network", "exec", "logs", "stats", "idle", "pull", "pack"];

const [name, ...options] = process.argv.slice(2);
if (name !== undefined && !names.includes(name)) {
  console.error(`no benchmark ${name}: ${names.join(", ")}`);
  process.exit(2);
}
for (const one of name === undefined ? names : [name]) {
  console.log(`\n${one}`);
  const argv = [process.execPath, `${import.meta.dir}/${one}.ts`, ...options];
  const { exitCode } = Bun.spawnSync(argv, { stdio: ["inherit", "inherit", "inherit"] });
  if (exitCode !== 0) process.exit(exitCode);
}
