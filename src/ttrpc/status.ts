import { AppError, describe, type ErrorKind, kindOf } from "../lib/errors.ts";

/** google.rpc.Code: the same numbers as gRPC's. */
const codes = {
  cancelled: 1,
  "invalid-argument": 3,
  "deadline-exceeded": 4,
  "not-found": 5,
  "already-exists": 6,
  "permission-denied": 7,
  "resource-exhausted": 8,
  "failed-precondition": 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  "data-loss": 15,
  unauthenticated: 16,
} as const satisfies Record<ErrorKind, number>;

const maxMessageLength = 4096;

/** The peer returned that it will not or could not. Whatever else goes wrong with a call is a plain `AppError`. */
export class RemoteError extends AppError {
  override readonly name = "RemoteError";
}

export function toRemoteError(code: number, message: string): RemoteError {
  const kinds = Object.entries(codes) as [ErrorKind, number][];
  const kind = kinds.find(([, number]) => number === code)?.[0] ?? "internal";
  const text = message.replace(/\p{Cc}+/gu, " ").slice(0, maxMessageLength);
  return new RemoteError(text === "" ? kind : text, { kind });
}

export function toStatus(err: unknown): { readonly code: number; readonly message: string } {
  return { code: codes[kindOf(err)], message: describe(err) };
}
