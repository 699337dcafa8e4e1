import { silentLog } from "../lib/log.ts";
import { version } from "../version.ts";
import { parseArgs } from "./args.ts";
import { defaultSocket, openCriClient } from "./client.ts";
import type { Command, CommandEnv } from "./command.ts";
import {
  describeFailure,
  exitCodeOf,
  exitCodes,
  failureKind,
  programFailureCode,
  UsageError,
} from "./failure.ts";
import { formatCommandHelp, formatHelp, helpWidth } from "./help.ts";
import { processInput } from "./input.ts";
import { type Output, OutputClosedError, plain, processOutput } from "./output/output.ts";
import { commandSuggestion, verbSuggestion } from "./suggest.ts";
import { absentOptions, type CommandSpec, withCommonOptions } from "./table/spec.ts";
import { allCommands, type CommandName, commandTable, findCommand } from "./table/table.ts";

/** Loads what a command does, and nothing else; main.ts has them. */
export type LoadCommand = (name: CommandName) => Promise<Command>;

/** What only main.ts may import. */
export type CliParts = Pick<CommandEnv, "loadConfigTools" | "loadNodeTools"> & {
  readonly loadCommand: LoadCommand;
};

/** The operator's command line. Returns the exit code; every failure has been reported in one line on stderr. */
export async function runCli(
  argv: readonly string[],
  { loadCommand, ...given }: CliParts,
): Promise<number> {
  const interrupt = new AbortController();
  const hurry = new AbortController();
  const onSignal = () => (interrupt.signal.aborted ? hurry : interrupt).abort();
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    return await runCommandLine(argv, loadCommand, {
      ...given,
      ctx: { signal: interrupt.signal, log: silentLog },
      hurry: hurry.signal,
      input: processInput(),
      out: processOutput(process.env),
      now: () => new Date(),
      variables: process.env,
    });
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** `runCli` without the process around it. */
export async function runCommandLine(
  argv: readonly string[],
  loadCommand: LoadCommand,
  env: Omit<CommandEnv, "connect">,
): Promise<number> {
  const [first = "--help", ...rest] = argv;
  const name = findCommand(first);
  try {
    if (name === undefined) return runBuiltin(first, rest[0], env.out);
    const spec: CommandSpec = commandTable[name];
    const { options, positionals } = parseArgs(
      rest,
      withCommonOptions(spec.options),
      spec.positionals,
      absentOptions(spec),
    );
    if (options.help) {
      env.out.write(formatCommandHelp(name, spec, widthOf(env.out)));
      return exitCodes.ok;
    }
    checkVerb(name, spec, positionals);
    const socket = options.socket ?? env.variables["CRIB_SOCKET"] ?? defaultSocket;
    const { run } = await loadCommand(name);
    return await run({ ...env, connect: () => openCriClient(socket) }, options, positionals);
  } catch (err) {
    return reportSafely(err, name, env);
  }
}

function checkVerb(
  name: string,
  { verbs, positionals }: CommandSpec,
  [verb]: readonly string[],
): void {
  if (verbs === undefined || (verb !== undefined && verbs.includes(verb))) return;
  if (verb === undefined && positionals.min === 0) return;
  const known = `not ${[verbs.slice(0, -1).join(", "), verbs.at(-1)].filter(Boolean).join(" or ")}`;
  throw new UsageError(
    `"${plain(verb ?? "")}": ${known}${verbSuggestion(name, verb ?? "", verbs)}`,
  );
}

function runBuiltin(name: string, topic: string | undefined, out: Output): number {
  const known = Object.keys(allCommands);
  switch (name) {
    case "--help":
    case "-h":
    case "help": {
      const spec = topic !== undefined && known.includes(topic) ? allCommands[topic] : undefined;
      if (topic === undefined) out.write(formatHelp(widthOf(out)));
      else if (spec !== undefined) out.write(formatCommandHelp(topic, spec, widthOf(out)));
      else throw unknownCommand(topic, known);
      return exitCodes.ok;
    }
    case "--version":
    case "-v":
      out.write(`crib ${version}\n`);
      return exitCodes.ok;
    default:
      throw name.startsWith("-")
        ? new UsageError(`unknown option ${plain(name)}: options follow the command`)
        : unknownCommand(name, known);
  }
}

function unknownCommand(name: string, known: readonly string[]): UsageError {
  return new UsageError(`unknown command "${plain(name)}"${commandSuggestion(name, known)}`);
}

function widthOf(out: Output): number {
  return helpWidth(out.isTerminal ? out.size()?.columns : undefined);
}

/** That stderr is gone too is no failure of its own. */
function reportSafely(
  err: unknown,
  name: CommandName | undefined,
  env: Omit<CommandEnv, "connect">,
): number {
  try {
    return report(err, name, env);
  } catch (failure) {
    if (failure instanceof OutputClosedError) return exitCodes.outputClosed;
    throw failure;
  }
}

function report(
  err: unknown,
  name: CommandName | undefined,
  env: Omit<CommandEnv, "connect">,
): number {
  if (err instanceof OutputClosedError) return exitCodes.outputClosed;
  const wasInterrupted = env.ctx.signal.aborted && failureKind(err) === "cancelled";
  const code = exitCodeOf(err);
  if (err instanceof SuppressedError) {
    env.out.writeError(`crib: clean up: ${describeFailure(err.error)}\n`);
  }
  if (!wasInterrupted) {
    const hint = `\ncrib: see \`crib ${name === undefined ? "" : `${name} `}--help\``;
    const help = code === exitCodes.usage ? hint : "";
    env.out.writeError(`crib: ${describeFailure(err)}${help}\n`);
  }
  const spec: CommandSpec | undefined = name === undefined ? undefined : commandTable[name];
  return spec?.runsProgram === true && !wasInterrupted ? programFailureCode(err) : code;
}
