import { Code } from "@connectrpc/connect";
import type { ErrorKind } from "../../lib/errors.ts";

/** A new kind does not compile until it is mapped. */
export const statusCode = {
  cancelled: Code.Canceled,
  "invalid-argument": Code.InvalidArgument,
  "deadline-exceeded": Code.DeadlineExceeded,
  "not-found": Code.NotFound,
  "already-exists": Code.AlreadyExists,
  "permission-denied": Code.PermissionDenied,
  unauthenticated: Code.Unauthenticated,
  "resource-exhausted": Code.ResourceExhausted,
  "failed-precondition": Code.FailedPrecondition,
  aborted: Code.Aborted,
  unimplemented: Code.Unimplemented,
  unavailable: Code.Unavailable,
  "data-loss": Code.DataLoss,
  internal: Code.Internal,
} as const satisfies Record<ErrorKind, Code>;
