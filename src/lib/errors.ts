/**
 * What an expected failure means to a caller. The set is gRPC's; `cri/call/status-code.ts` is the one place that
 * turns a kind into a status. An error without a kind is a bug and becomes `internal`.
 */
const errorKinds = [
  "cancelled",
  "invalid-argument",
  "deadline-exceeded",
  "not-found",
  "already-exists",
  "permission-denied",
  "unauthenticated",
  "resource-exhausted",
  "failed-precondition",
  "aborted",
  "unimplemented",
  "unavailable",
  "data-loss",
  "internal",
] as const;
export type ErrorKind = (typeof errorKinds)[number];

/** The kind that another process of ours has written; one that is not known, of another version, is a bug as well. */
export function parseErrorKind(text: string): ErrorKind {
  return errorKinds.find((kind) => kind === text) ?? "internal";
}

/** The message prefixes that the kubelet looks for (k8s.io/cri-api pkg/errors). */
export type ErrorReason =
  | "RegistryUnavailable"
  | "SignatureValidationFailed"
  | "RROUnsupported"
  | "ImageVolumeMountFailed"
  | "SecurityProfileInvalid";

/** An expected failure. Its message names this layer's step only; `cause` says why. */
export class AppError extends Error {
  override readonly name: string = "AppError";
  readonly kind: ErrorKind;
  readonly reason: ErrorReason | undefined;

  constructor(
    message: string,
    options: { readonly kind: ErrorKind; readonly reason?: ErrorReason; readonly cause?: unknown },
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.kind = options.kind;
    this.reason = options.reason;
  }
}

/** The failure itself, when a failed clean-up has been wrapped around it. */
export function primary(err: unknown): unknown {
  return err instanceof SuppressedError ? primary(err.suppressed) : err;
}

/** A chain may be a circle. */
const maxDepth = 16;

/** The error and what caused it, from the outside in. */
function* chainOf(err: unknown): Generator<Error> {
  let cause = primary(err);
  for (let depth = 0; depth < maxDepth && cause instanceof Error; depth++) {
    yield cause;
    cause = primary(cause.cause);
  }
}

/** The nearest kind in the cause chain; anything unclassified is a bug, hence `internal`. */
export function kindOf(err: unknown): ErrorKind {
  for (const cause of chainOf(err)) {
    if (cause instanceof AppError) return cause.kind;
    if (cause.name === "AbortError") return "cancelled";
    if (cause.name === "TimeoutError") return "deadline-exceeded";
    if ("code" in cause && isExhaustion(cause.code)) return "resource-exhausted";
  }
  return "internal";
}

const exhaustions: readonly unknown[] = [
  "ENOSPC",
  "EDQUOT",
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "EAGAIN",
];

/** Whether an errno of this name says that the node has no more of something: no bug, and it may pass. */
export function isExhaustion(name: unknown): boolean {
  return exhaustions.includes(name);
}

/** The first reason in the cause chain, which the interceptor puts in front of the message. */
export function reasonOf(err: unknown): ErrorReason | undefined {
  for (const cause of chainOf(err)) {
    if (cause instanceof AppError && cause.reason !== undefined) return cause.reason;
  }
  return undefined;
}

const maxDescriptionLength = 4096;
const controlCharacters = /\p{Cc}+/gu;

/** The chain of messages joined by `: `, on one line, without control characters, at most 4 KiB. */
export function describe(err: unknown): string {
  const messages: string[] = [];
  for (const { message } of chainOf(err)) {
    if (message !== "" && messages.at(-1) !== message) messages.push(message);
  }
  if (messages.length === 0) messages.push(typeof err === "string" ? err : "unknown error");
  return messages.join(": ").replace(controlCharacters, " ").slice(0, maxDescriptionLength);
}

export function invalidArgument(message: string, cause?: unknown): AppError {
  return new AppError(message, { kind: "invalid-argument", cause });
}

export function notFound(message: string): AppError {
  return new AppError(message, { kind: "not-found" });
}

export function failedPrecondition(message: string, cause?: unknown): AppError {
  return new AppError(message, { kind: "failed-precondition", cause });
}

/** Why a text could not be parsed, without what stands in it: that may be a password with a quote missing. */
export function syntaxFault(cause: unknown): Error {
  if (!(cause instanceof SyntaxError))
    return cause instanceof Error ? cause : new Error("unreadable");
  return new SyntaxError(cause.message.replace(/:? ["'].*["']$/s, ""));
}
