import { UsageError } from "../failure.ts";

export interface BasicCredentials {
  readonly username: string;
  readonly password: string;
}

/** `USER:PASS`. The error does not repeat what was given. */
export function parseCredentials(text: string | undefined): BasicCredentials | undefined {
  if (text === undefined) return undefined;
  const colon = text.indexOf(":");
  if (colon < 1) throw new UsageError("credentials: not USER:PASS");
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
