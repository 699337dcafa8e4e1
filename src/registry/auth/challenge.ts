/** One way to authenticate that a `WWW-Authenticate` header offers (RFC 9110, 11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const maxHeaderLength = 8192;
const token = /[A-Za-z0-9!#$%&'*+.^_`|~-]+/y;
const blanks = /[ \t]*/y;
const separators = /[ \t,]*/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;

/** Reads as far as the header is well formed: what comes after an error is not believed. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  if (header.length > maxHeaderLength) return challenges;
  const cursor = new Cursor(header);
  for (;;) {
    cursor.take(separators);
    const word = cursor.take(token);
    if (word === undefined) return challenges;
    cursor.take(blanks);
    if (!cursor.skip("=")) {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
      continue;
    }
    cursor.take(blanks);
    const value = cursor.take(quoted)?.slice(1, -1).replace(/\\(.)/g, "$1") ?? cursor.take(token);
    const current = challenges.at(-1);
    if (value === undefined || current === undefined) return challenges;
    const name = word.toLowerCase();
    if (!current.parameters.has(name)) current.parameters.set(name, value);
  }
}

class Cursor {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** What the (sticky) pattern finds here. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }
}
