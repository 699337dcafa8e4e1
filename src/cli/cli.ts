import { silentLog } from "../lib/log.ts";
import { version } from "../version.ts";
import { defaultSocket, openCriClient } from "./client.ts";
import type { Command, CommandEnv } from "./command.ts";
import { commands } from "./commands/all.ts";
import { describeFailure, exitCodeOf, exitCodes, failureKind, UsageError } from "./failure.ts";
import { formatCommandHelp, formatHelp } from "./help.ts";
import { processInput } from "./input.ts";
import { type Output, OutputClosedError, processOutput } from "./output/output.ts";

/** The operator's command line. Answers the exit code; every failure has been told in one line on stderr. */
export async function runCli(
  argv: readonly string[],
  given: Pick<CommandEnv, "loadConfigTools" | "loadNodeTools">,
): Promise<number> {
  const out = processOutput(process.env);
  const interrupt = new AbortController();
  const hurry = new AbortController();
  const onSignal = () => (interrupt.signal.aborted ? hurry : interrupt).abort();
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    return await runCommandLine(argv, {
      ...given,
      ctx: { signal: interrupt.signal, log: silentLog },
      hurry: hurry.signal,
      input: processInput(),
      out,
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
  env: Omit<CommandEnv, "connect">,
): Promise<number> {
  const [name = "--help", ...rest] = argv;
  const command = commands.find((known) => known.name === name);
  try {
    if (command === undefined) return runBuiltin(argv, env.out);
    const parsed = command.parse(rest);
    if (parsed.wantsHelp) {
      env.out.write(formatCommandHelp(command));
      return exitCodes.ok;
    }
    const socket = parsed.socket ?? env.variables["CRIB_SOCKET"] ?? defaultSocket;
    return await parsed.run({ ...env, connect: () => openCriClient(socket) });
  } catch (err) {
    return report(err, command, env);
  }
}

function runBuiltin([name = "--help", topic]: readonly string[], out: Output): number {
  const command = commands.find((known) => known.name === topic);
  const isUnknown = command === undefined && topic !== undefined && topic !== "serve";
  switch (name) {
    case "--help":
    case "-h":
    case "help":
      if (isUnknown) throw new UsageError(`unknown command "${topic}"`);
      out.write(command === undefined ? formatHelp(commands) : formatCommandHelp(command));
      return exitCodes.ok;
    case "--version":
      out.write(`crib ${version}\n`);
      return exitCodes.ok;
    default:
      throw new UsageError(`unknown command "${name}"`);
  }
}

function report(
  err: unknown,
  command: Command | undefined,
  env: Omit<CommandEnv, "connect">,
): number {
  if (err instanceof OutputClosedError) return exitCodes.outputClosed;
  const wasInterrupted = env.ctx.signal.aborted && failureKind(err) === "cancelled";
  const code = exitCodeOf(err);
  if (err instanceof SuppressedError) {
    env.out.writeError(`crib: clean up: ${describeFailure(err.error)}\n`);
  }
  if (!wasInterrupted) {
    const hint = `\ncrib: see \`crib ${command === undefined ? "" : `${command.name} `}--help\``;
    const help = code === exitCodes.usage ? hint : "";
    env.out.writeError(`crib: ${describeFailure(err)}${help}\n`);
  }
  const runsCommand = ["run", "exec", "attach"].includes(command?.name ?? "");
  const isOurs = !wasInterrupted && code !== exitCodes.usage;
  return runsCommand && isOurs ? exitCodes.commandNotRun : code;
}
