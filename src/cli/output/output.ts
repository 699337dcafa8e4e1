import { writeSync } from "node:fs";
import { AppError } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { getWindowSize, type WindowSize } from "../../os/terminal.ts";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Where a command writes. Colours and a moving line exist only on a terminal. */
export interface Output {
  /** stdout is a terminal. */
  readonly isTerminal: boolean;
  /** stderr is a terminal that can redraw its line. */
  readonly canRedraw: boolean;
  write(data: string | Uint8Array): void;
  writeError(data: string | Uint8Array): void;
  /** The text, coloured where stdout shows colours. */
  paint(style: Style, text: string): string;
  /** Of the terminal that stdout is, or else stdin; `undefined` where there is none, or it does not know. */
  size(): WindowSize | undefined;
  onResize(changed: () => void): Disposable;
}

const codes: Readonly<Record<Style, number>> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  cyan: 36,
};

/** The process's own stdout and stderr. Honours NO_COLOR (no-color.org) and TERM=dumb. */
export function processOutput(env: Readonly<Record<string, string | undefined>>): Output {
  const isDumb = env["TERM"] === "dumb";
  const hasColour = process.stdout.isTTY && !isDumb && (env["NO_COLOR"] ?? "") === "";
  return {
    isTerminal: process.stdout.isTTY === true,
    canRedraw: process.stderr.isTTY === true && !isDumb,
    write: (data) => writeAll(1, data),
    writeError: (data) => writeAll(2, data),
    paint: (style, text) => (hasColour ? `\x1b[${codes[style]}m${text}\x1b[0m` : text),
    size() {
      const fd = process.stdout.isTTY ? 1 : process.stdin.isTTY ? 0 : undefined;
      const size = fd === undefined ? undefined : getWindowSize(fd);
      return size === undefined || size.columns === 0 || size.rows === 0 ? undefined : size;
    },
    onResize(changed) {
      process.on("SIGWINCH", changed);
      return { [Symbol.dispose]: () => void process.off("SIGWINCH", changed) };
    },
  };
}

/** The reader of our output has gone, as in `crib logs web | head`. Not worth a message. */
export class OutputClosedError extends AppError {
  override readonly name = "OutputClosedError";

  constructor(message: string, options: { readonly cause: unknown }) {
    super(message, { kind: "cancelled", ...options });
  }
}

const retryMs = 5;

/** Synchronous, so that nothing is lost when the process exits; waits where a non-blocking pipe is full. */
function writeAll(fd: number, data: string | Uint8Array): void {
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  for (let at = 0; at < bytes.byteLength; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (err) {
      if (isErrno(err, "EAGAIN")) Bun.sleepSync(retryMs);
      else if (!isErrno(err, "EPIPE")) throw err;
      else throw new OutputClosedError("output closed", { cause: err });
    }
  }
}

const controlCharacters = /\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;

/** Names, labels and messages come from others: nothing in them moves the cursor or turns the text around. */
export function plain(text: string): string {
  return text.replace(controlCharacters, "�");
}
