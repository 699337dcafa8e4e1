/** Runs a program to its end and returns what it printed. Its last words are in the error when it fails. */
export async function run(
  argv: readonly string[],
  options: {
    readonly cwd?: string;
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<string> {
  await using program = Bun.spawn([...argv], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...process.env, LC_ALL: "C", ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    program.stdout.text(),
    program.stderr.text(),
    program.exited,
  ]);
  if (exitCode !== 0) {
    const lastWords = (stderr.trim() || stdout.trim()).split("\n").slice(-15).join("\n  ");
    throw new Error(`${argv.join(" ")} (exit ${exitCode}):\n  ${lastWords}`);
  }
  return stdout;
}

/** The output of a program that may be missing or fail: then `undefined`. */
export async function tryRun(
  argv: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<string | undefined> {
  if (Bun.which(argv[0] ?? "") === null) return undefined;
  return await run(argv, options).catch(() => undefined);
}
