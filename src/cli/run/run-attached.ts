import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { attachTo } from "../streams/attach.ts";
import { defaultDetachKeys, parseDetachKeys } from "../streams/detach-keys.ts";
import type { TalkEnd } from "../streams/talk.ts";
import { followPod, type StartRequest, startPod } from "./run-pod.ts";

/** `crib run` with stdin or a terminal: attached before the container starts, so that its first words are seen. */
export async function runAttached(
  env: CommandEnv,
  cri: CriClient,
  request: Omit<StartRequest, "beforeStart">,
  options: { readonly stdin: boolean; readonly tty: boolean; readonly remove: boolean },
): Promise<number> {
  // Not the caller's: an interrupt stops the container, and what it says then is shown.
  const over = new AbortController();
  let talking: Promise<TalkEnd> | undefined;
  await using end = new AsyncDisposableStack();
  end.defer(async () => {
    over.abort();
    await talking?.catch(() => {}); // the terminal is as it was, for whatever is printed now
  });
  const attached = { ...env, ctx: { ...env.ctx, signal: over.signal } };
  const detachKeys = options.tty ? parseDetachKeys(defaultDetachKeys) : undefined;
  const beforeStart = async (containerId: string) => {
    const { promise: opened, resolve: onOpen } = Promise.withResolvers<void>();
    talking = attachTo(attached, cri, containerId, { ...options, detachKeys, onOpen });
    talking.catch(() => {}); // reported below
    await Promise.race([opened, talking]);
  };
  const started = await startPod(env, cri, { ...request, beforeStart });
  return await followPod(env, cri, started, { remove: options.remove, talking });
}
