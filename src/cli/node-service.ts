import { failedPrecondition } from "../lib/errors.ts";
import { defaultSocket, openCriClient } from "./client.ts";

export function requireRoot(command: string): void {
  if (process.getuid?.() !== 0) throw failedPrecondition(`${command} needs root`);
}

const patienceMs = 5000;

/** Whether the node's own daemon is ready for a kubelet. */
export async function nodeIsServing(signal: AbortSignal): Promise<boolean> {
  using cri = openCriClient(defaultSocket);
  await cri.runtime.listPodSandbox({}, { signal, timeoutMs: patienceMs });
  return true;
}
