import { runCommandLine } from "../../src/cli/cli.ts";
import { openCriClient } from "../../src/cli/client.ts";
import type { CommandEnv } from "../../src/cli/command.ts";
import type { Output } from "../../src/cli/output.ts";
import { silentLog } from "../../src/lib/log.ts";

export interface Written {
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestEnvOptions {
  readonly variables?: Readonly<Record<string, string>>;
  readonly interrupt?: AbortSignal;
  readonly hurry?: AbortSignal;
}

/** What a command sees when a test runs it: no terminal, a clock that stands still, output that can be read. */
export function testEnv(options: TestEnvOptions = {}): {
  readonly env: CommandEnv;
  written(): Written;
} {
  const stdout: Uint8Array[] = [];
  const stderr: Uint8Array[] = [];
  const out: Output = {
    isTerminal: false,
    canRedraw: false,
    write: (data) => void stdout.push(Buffer.from(data as string)),
    writeError: (data) => void stderr.push(Buffer.from(data as string)),
    paint: (_style, text) => text,
  };
  const never = new AbortController().signal;
  const env: CommandEnv = {
    ctx: { signal: options.interrupt ?? never, log: silentLog },
    hurry: options.hurry ?? never,
    out,
    now: () => new Date("2026-01-01T00:01:00Z"),
    variables: options.variables ?? {},
    connect: () => openCriClient("unix:///nonexistent/crib.sock"),
    loadConfigTools: () => Promise.reject(new Error("no daemon here")),
  };
  const read = (chunks: readonly Uint8Array[]) => Buffer.concat(chunks).toString();
  return { env, written: () => ({ stdout: read(stdout), stderr: read(stderr) }) };
}

/** Runs a command line as `crib` would, in this process, and answers what came of it. */
export async function runCrib(
  argv: readonly string[],
  options: TestEnvOptions = {},
): Promise<Written & { readonly code: number }> {
  const { env, written } = testEnv(options);
  const code = await runCommandLine(argv, env);
  return { code, ...written() };
}
