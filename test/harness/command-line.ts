import { runCommandLine } from "../../src/cli/cli.ts";
import type { Output } from "../../src/cli/output.ts";
import { silentLog } from "../../src/lib/log.ts";

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandLineOptions {
  readonly variables?: Readonly<Record<string, string>>;
  readonly interrupt?: AbortSignal;
  readonly hurry?: AbortSignal;
  readonly isTerminal?: boolean;
}

/** Runs a command line as `crib` would, in this process, and answers what it wrote. */
export async function runCrib(
  argv: readonly string[],
  options: CommandLineOptions = {},
): Promise<CommandResult> {
  const written = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const isTerminal = options.isTerminal ?? false;
  const out: Output = {
    isTerminal,
    canRedraw: isTerminal,
    write: (data) => void written.stdout.push(Buffer.from(data as string)),
    writeError: (data) => void written.stderr.push(Buffer.from(data as string)),
    paint: (_style, painted) => painted,
  };
  const never = new AbortController().signal;
  const code = await runCommandLine(argv, {
    ctx: { signal: options.interrupt ?? never, log: silentLog },
    hurry: options.hurry ?? never,
    out,
    now: () => new Date("2026-01-01T00:01:00Z"),
    variables: options.variables ?? {},
    loadConfigTools: () => Promise.reject(new Error("no daemon here")),
  });
  const text = (chunks: readonly Uint8Array[]) => Buffer.concat(chunks).toString();
  return { code, stdout: text(written.stdout), stderr: text(written.stderr) };
}
