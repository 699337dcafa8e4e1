const clearBelow = "\x1b[J";
const clearRest = "\x1b[K";

/** Lines on a terminal that are drawn again over themselves. There must be room for all of them. */
export class Repaint {
  readonly #write: (text: string) => void;
  #drawn = 0;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  draw(lines: readonly string[]): void {
    this.#write(`${this.#home()}${lines.map((line) => `${line}${clearRest}\n`).join("")}`);
    this.#drawn = lines.length;
  }

  /** Takes away what is drawn. */
  clear(): void {
    if (this.#drawn > 0) this.#write(this.#home());
    this.#drawn = 0;
  }

  #home(): string {
    return this.#drawn === 0 ? "" : `\x1b[${this.#drawn}A\r${clearBelow}`;
  }
}
