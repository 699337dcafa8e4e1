import { randomBytes, timingSafeEqual } from "node:crypto";
import { AppError } from "../lib/errors.ts";

const tokenBytes = 16;
const lifetimeMs = 60_000;
const maxOutstanding = 1000;

interface Issued<Request> {
  readonly token: Buffer;
  readonly expiresAt: number;
  readonly request: Request;
}

/** Requests behind tokens that nobody can guess, each good for one use within a minute. */
export class Tokens<Request> {
  readonly #clock: () => number;
  #issued: Issued<Request>[] = [];

  /** `clock` counts milliseconds and never goes back. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** Throws `resource-exhausted` while too many are outstanding. */
  issue(request: Request): string {
    const now = this.#clock();
    this.#issued = this.#issued.filter(({ expiresAt }) => expiresAt > now);
    if (this.#issued.length >= maxOutstanding) {
      const message = `${maxOutstanding} streaming requests wait for their clients`;
      throw new AppError(message, { kind: "resource-exhausted" });
    }
    const token = randomBytes(tokenBytes);
    this.#issued.push({ token, expiresAt: now + lifetimeMs, request });
    return token.toString("hex");
  }

  /** The request, once; `undefined` for any other text. Takes the same time whatever the text is. */
  take(text: string): Request | undefined {
    if (!/^[0-9a-f]{32}$/.test(text)) return undefined;
    const token = Buffer.from(text, "hex");
    let found: Issued<Request> | undefined;
    for (const issued of this.#issued) if (timingSafeEqual(issued.token, token)) found = issued;
    if (found === undefined) return undefined;
    this.#issued = this.#issued.filter((issued) => issued !== found);
    return found.expiresAt > this.#clock() ? found.request : undefined;
  }
}
