import { invalidArgument } from "../lib/errors.ts";
import { asInteger, asObject, parseJson } from "../lib/json.ts";

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

const maxSizeBytes = 256;

/** Reads `{"Width":80,"Height":24}` one after the other, however they are cut. Returns the last one that is whole now. */
export class TerminalSizeParser {
  #rest = "";

  push(bytes: Uint8Array): TerminalSize | undefined {
    this.#rest += Buffer.from(bytes).toString("latin1");
    let last: TerminalSize | undefined;
    for (let end = this.#rest.indexOf("}"); end >= 0; end = this.#rest.indexOf("}")) {
      last = parse(this.#rest.slice(0, end + 1));
      this.#rest = this.#rest.slice(end + 1);
    }
    if (this.#rest.length > maxSizeBytes) throw invalidArgument("terminal size without an end");
    return last;
  }
}

function parse(text: string): TerminalSize {
  const size = asObject(
    parseJson(text, "terminal size", { maxBytes: maxSizeBytes }),
    "terminal size",
  );
  return { columns: asUint16(size["Width"], "Width"), rows: asUint16(size["Height"], "Height") };
}

function asUint16(value: unknown, what: string): number {
  const number = asInteger(value, what);
  if (number < 0 || number > 0xffff) throw invalidArgument(`${what}: not within 0 and 65535`);
  return number;
}
