import { Code, ConnectError } from "@connectrpc/connect";
import {
  AppError,
  describe,
  type ErrorReason,
  kindOf,
  primary,
  reasonOf,
} from "../../lib/errors.ts";
import { statusCode } from "./status-code.ts";

/**
 * The kubelet looks for these at the very start of the message, and its client takes gRPC's own words away only
 * from errors with code UNKNOWN.
 */
const codeOfReason = {
  RegistryUnavailable: Code.Unknown,
  SignatureValidationFailed: Code.Unknown,
  ImageVolumeMountFailed: Code.Unknown,
  RROUnsupported: undefined,
  SecurityProfileInvalid: undefined,
} as const satisfies Record<ErrorReason, Code | undefined>;

/** What a client gets to know of a failure: the chain of messages, one code, the reason first where there is one. */
export function toStatusError(err: unknown): ConnectError {
  if (err instanceof ConnectError && codeOf(err) === err.code) return err;
  const reason = reasonOf(err);
  const text = describe(err);
  const message = reason === undefined ? text : `${reason}: ${text}`;
  const code = (reason && codeOfReason[reason]) ?? codeOf(err);
  return new ConnectError(message, code, undefined, undefined, err);
}

/**
 * The first error of the chain that says what it means; Connect's own come from its abort signals. It has Internal for
 * most ends of a stream that was not reset properly, as when the client was killed.
 */
function codeOf(err: unknown): Code {
  const cause = primary(err);
  if (cause instanceof ConnectError) {
    return cause.code === Code.Internal ? Code.Canceled : cause.code;
  }
  if (!(cause instanceof AppError) && cause instanceof Error && cause.cause !== undefined) {
    return codeOf(cause.cause);
  }
  return statusCode[kindOf(cause)];
}

/** Something that no code expected: nothing in the chain has a kind. */
export function isBug(err: unknown): boolean {
  const cause = primary(err);
  if (cause instanceof AppError || cause instanceof ConnectError) return false;
  if (cause instanceof Error && cause.cause !== undefined) return isBug(cause.cause);
  return kindOf(cause) === "internal";
}
