import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";

/** Runs all side by side. When one fails the others are stopped, and its failure is thrown when they have ended. */
export async function allOrNone<T>(
  ctx: Context,
  items: readonly T[],
  run: (ctx: Context, item: T, index: number) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const inner = { ...ctx, signal: AbortSignal.any([ctx.signal, failed.signal]) };
  let failure: { readonly cause: unknown } | undefined;
  await Promise.all(
    items.map(async (item, index) => {
      try {
        await run(inner, item, index);
      } catch (cause) {
        failure ??= { cause };
        failed.abort(new AppError("another layer failed", { kind: "cancelled" }));
      }
    }),
  );
  ctx.signal.throwIfAborted();
  if (failure !== undefined) throw failure.cause;
}
