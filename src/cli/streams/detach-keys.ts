import { UsageError } from "../failure.ts";

export const defaultDetachKeys = "ctrl-p,ctrl-q";

/** Finds the keys by which a person leaves an attached program; the program does not get them. */
export class DetachKeys {
  readonly #keys: Buffer;
  /** So many of the keys have been typed. */
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What the program gets of `typed`. Keys that may be the beginning of the sequence wait for the next one. */
  push(typed: Uint8Array): { readonly through: Uint8Array; readonly isDetached: boolean } {
    const through: number[] = [];
    for (const key of typed) {
      if (key !== this.#keys[this.#matched]) {
        through.push(...this.#keys.subarray(0, this.#matched));
        this.#matched = 0;
      }
      if (key === this.#keys[this.#matched]) this.#matched++;
      else through.push(key);
      if (this.#matched === this.#keys.byteLength) {
        return { through: Uint8Array.from(through), isDetached: true };
      }
    }
    return { through: Uint8Array.from(through), isDetached: false };
  }
}

/** `ctrl-p,ctrl-q` or `ctrl-],x`: as Docker writes them. `none` is no way to leave. */
export function parseDetachKeys(text: string): DetachKeys | undefined {
  if (text === "none") return undefined;
  const keys = text.split(",").map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
    throw new UsageError(`--detach-keys ${text}: not keys as in ctrl-p,ctrl-q`);
  });
  return new DetachKeys(Buffer.from(keys));
}
