/** This program again with these arguments, in a network namespace of its own. Answers the exit code. */
export function runInNamespace(args: readonly string[]): number {
  const [, script = ""] = process.argv;
  const setUp = 'ip link set lo up && exec "$@"';
  const argv = ["unshare", "--net", "sh", "-c", setUp, "sh", process.execPath, script, ...args];
  return Bun.spawnSync(argv, { stdio: ["inherit", "inherit", "inherit"] }).exitCode;
}
