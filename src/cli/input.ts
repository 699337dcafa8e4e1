import { getTerminalMode, rawMode, setTerminalMode } from "../os/terminal.ts";
import { UsageError } from "./failure.ts";

/** What is typed, or piped in. */
export interface Input {
  readonly isTerminal: boolean;
  /** The next bytes; `undefined` at the end. */
  read(): Promise<Uint8Array | undefined>;
  /** Of a terminal: every key is a byte for the reader, Ctrl-C too, until this is disposed. */
  takeKeys(): Disposable;
}

const stdin = 0;

/** The process's own stdin, which is not touched before it is read. */
export function processInput(): Input {
  const open = () => Bun.stdin.stream().getReader();
  let reader: ReturnType<typeof open> | undefined;
  return {
    isTerminal: process.stdin.isTTY === true,
    async read() {
      reader ??= open();
      return (await reader.read()).value;
    },
    takeKeys: () => holdRaw(),
  };
}

/** However this process ends, unless by SIGKILL, the terminal is what it was before. */
function holdRaw(): Disposable {
  const before = getTerminalMode(stdin);
  const raw = rawMode(before);
  const restore = () => {
    try {
      setTerminalMode(stdin, before);
    } catch {
      // The terminal has gone: nobody sees how it is left.
    }
  };
  // Who was stopped and goes on finds the terminal as the shell has left it.
  const resume = () => setTerminalMode(stdin, raw);
  const deadly = ["SIGHUP", "SIGQUIT"] as const;
  const die = (signal: NodeJS.Signals) => {
    restore();
    for (const one of deadly) process.off(one, die);
    process.kill(process.pid, signal);
  };
  for (const one of deadly) process.on(one, die);
  process.on("SIGCONT", resume).on("exit", restore);
  resume();
  return {
    [Symbol.dispose]() {
      for (const one of deadly) process.off(one, die);
      process.off("SIGCONT", resume).off("exit", restore);
      restore();
    },
  };
}

/** A terminal's end of input is a key: a pipe's end would leave the program waiting. */
export function requireTerminal(input: Input): void {
  if (!input.isTerminal) throw new UsageError("stdin is no terminal: leave -t away");
}
