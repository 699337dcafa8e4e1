import { abortable } from "./abortable.ts";

/** Waits before attempt `attempt` (1, 2, ...): doubling from `firstMs`, half of it left to chance, ends early with the signal's reason. */
export async function backoff(
  attempt: number,
  signal: AbortSignal,
  options: { readonly firstMs: number; readonly atLeastMs?: number | undefined },
): Promise<void> {
  const fullMs = options.firstMs * 2 ** (attempt - 1);
  const waitMs = Math.max(fullMs / 2 + (Math.random() * fullMs) / 2, options.atLeastMs ?? 0);
  await abortable(Bun.sleep(waitMs), signal);
}
