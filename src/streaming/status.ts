import { describe } from "../lib/errors.ts";

/** How a command ended: with an exit code, not at all by itself (an attached client's container), or with an error. */
export type Outcome =
  | { readonly kind: "exit"; readonly exitCode: number }
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly err: unknown };

/** The last word on the error stream: a metav1.Status since version 4, before that text, and nothing for success. */
export function formatOutcome(outcome: Outcome, protocol: RemoteCommandVersion): string {
  const failure = failureOf(outcome);
  if (protocol >= 4) return JSON.stringify({ metadata: {}, ...(failure ?? { status: "Success" }) });
  return failure?.message ?? "";
}

/** Of the protocol `v<n>.channel.k8s.io`. */
export type RemoteCommandVersion = 1 | 2 | 3 | 4 | 5;

function failureOf(outcome: Outcome) {
  if (outcome.kind === "end" || (outcome.kind === "exit" && outcome.exitCode === 0))
    return undefined;
  if (outcome.kind === "exit") {
    const exitCode = String(outcome.exitCode);
    return {
      status: "Failure",
      message: `command terminated with non-zero exit code: ${exitCode}`,
      reason: "NonZeroExitCode",
      details: { causes: [{ reason: "ExitCode", message: exitCode }] },
    };
  }
  const message = describe(outcome.err);
  return {
    status: "Failure",
    message,
    reason: "InternalError",
    details: { causes: [{ message }] },
    code: 500,
  };
}
