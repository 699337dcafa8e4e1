import { Code, ConnectError } from "@connectrpc/connect";
import type { CriClient } from "./client.ts";

/** CRI has no such state; an older daemon cannot pause. */
export async function pausedIds(cri: CriClient, signal: AbortSignal): Promise<ReadonlySet<string>> {
  try {
    return new Set((await cri.admin.listPausedContainers({}, { signal })).containerIds);
  } catch (err) {
    if (err instanceof ConnectError && err.code === Code.Unimplemented) return new Set();
    throw err;
  }
}
