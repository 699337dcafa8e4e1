import { runCommandLine } from "../../src/cli/cli.ts";
import { openCriClient } from "../../src/cli/client.ts";
import type { Command, CommandEnv } from "../../src/cli/command.ts";
import type { CommandName } from "../../src/cli/table/table.ts";
import { silentLog } from "../../src/lib/log.ts";
import { recordOutput } from "./recorded-output.ts";

export interface Written {
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestEnvOptions {
  readonly variables?: Readonly<Record<string, string>>;
  readonly interrupt?: AbortSignal;
  readonly hurry?: AbortSignal;
  /** What is piped in; nothing unless told. */
  readonly stdin?: string;
}

/** What a command sees when a test runs it: no terminal, a clock that stands still, output that can be read. */
export function testEnv(options: TestEnvOptions = {}): {
  readonly env: CommandEnv;
  written(): Written;
} {
  const { out, text } = recordOutput();
  const typed = options.stdin === undefined ? [] : [Buffer.from(options.stdin)];
  const never = new AbortController().signal;
  const env: CommandEnv = {
    ctx: { signal: options.interrupt ?? never, log: silentLog },
    hurry: options.hurry ?? never,
    input: {
      isTerminal: false,
      read: async () => typed.shift(),
      takeKeys: () => ({ [Symbol.dispose]: () => {} }),
    },
    out,
    now: () => new Date("2026-01-01T00:01:00Z"),
    variables: options.variables ?? {},
    connect: () => openCriClient("unix:///nonexistent/crib.sock"),
    loadConfigTools: () => Promise.reject(new Error("no daemon here")),
    loadNodeTools: () => Promise.reject(new Error("no daemon here")),
  };
  return { env, written: () => ({ ...text }) };
}

/** Runs a command line as `crib` would, in this process, and returns what came of it. */
export async function runCrib(
  argv: readonly string[],
  options: TestEnvOptions = {},
): Promise<Written & { readonly code: number }> {
  const { env, written } = testEnv(options);
  const code = await runCommandLine(argv, loadCommand, env);
  return { code, ...written() };
}

/** As main.ts does it: every command is in the file of its own name, or in that of the command that it undoes. */
async function loadCommand(name: CommandName): Promise<Command> {
  const file =
    { rollback: "upgrade", killall: "uninstall", unpause: "pause", logout: "login" }[
      name as string
    ] ?? name;
  const module = (await import(`../../src/cli/commands/${file}.ts`)) as Record<string, Command>;
  const found = Object.values(module).find((one) => one.name === name);
  if (found === undefined) throw new Error(`no command ${name} in ${file}.ts`);
  return found;
}
