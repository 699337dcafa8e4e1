import { Code, ConnectError } from "@connectrpc/connect";
import { AppError, describe, type ErrorKind, kindOf, primary } from "../lib/errors.ts";
import { plain } from "./output/output.ts";
import { programFailureOf } from "./program-failure.ts";

/** What scripts can rely on; `crib --help` prints it. `run`, `exec` and `attach` return the program's own code. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unavailable: 4,
  timedOut: 5,
  /** `run`, `exec` and `attach`, with docker's meanings: crib itself failed, not the program. */
  commandNotRun: 125,
  /** The program is there and cannot be executed. */
  notExecutable: 126,
  programNotFound: 127,
  interrupted: 130,
  outputClosed: 141,
} as const;

/** The command line is wrong. */
export class UsageError extends AppError {
  override readonly name = "UsageError";

  constructor(message: string) {
    super(message, { kind: "invalid-argument" });
  }
}

const kindOfCode: Readonly<Partial<Record<Code, ErrorKind>>> = {
  [Code.Canceled]: "cancelled",
  [Code.NotFound]: "not-found",
  [Code.AlreadyExists]: "already-exists",
  [Code.Unavailable]: "unavailable",
  [Code.DeadlineExceeded]: "deadline-exceeded",
};

/** The kind of a failure here, or of the daemon's response. */
export function failureKind(err: unknown): ErrorKind {
  const cause = primary(err);
  if (cause instanceof ConnectError) {
    // Kubelets know this one by its message; its code says nothing (k8s.io/cri-api pkg/errors).
    if (cause.rawMessage.startsWith("RegistryUnavailable")) return "unavailable";
    return kindOfCode[cause.code] ?? "internal";
  }
  if (cause instanceof AppError || !(cause instanceof Error) || cause.cause === undefined) {
    return kindOf(cause);
  }
  return failureKind(cause.cause);
}

export function exitCodeOf(err: unknown): number {
  if (primary(err) instanceof UsageError) return exitCodes.usage;
  switch (failureKind(err)) {
    case "not-found":
      return exitCodes.notFound;
    case "unavailable":
      return exitCodes.unavailable;
    case "deadline-exceeded":
      return exitCodes.timedOut;
    case "cancelled":
      return exitCodes.interrupted;
    default:
      return exitCodes.failed;
  }
}

/** One printable line. A daemon's status is its message alone, without Connect's `[internal]` in front. */
export function describeFailure(err: unknown): string {
  const cause = primary(err);
  if (cause instanceof ConnectError) return plain(cause.rawMessage);
  if (cause instanceof Error && cause.cause instanceof ConnectError) {
    return plain(`${cause.message}: ${cause.cause.rawMessage}`);
  }
  return plain(describe(err));
}

/** Of `run`, `exec` and `attach`: 127, 126 or 125, as docker's. */
export function programFailureCode(err: unknown): number {
  switch (programFailureOf(describeFailure(err))) {
    case "not-found":
      return exitCodes.programNotFound;
    case "not-executable":
      return exitCodes.notExecutable;
    case undefined:
      return exitCodes.commandNotRun;
  }
}
