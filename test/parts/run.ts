/** Ends the message of a failed command: what it said last. */
const tailLength = 4000;

/** Waits for the command and returns its standard output; anything but exit code 0 throws with the end of what it said. */
export async function run(
  argv: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const child = Bun.spawn([...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (exitCode !== 0) {
    const said = `${stdout}\n${stderr}`.trim().slice(-tailLength);
    throw new Error(`${argv.join(" ")}: exit code ${exitCode}\n${said}`);
  }
  return stdout;
}
