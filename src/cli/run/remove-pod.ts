import { rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { CriClient } from "../client.ts";
import { runLabel, runLogDirectory } from "./run-config.ts";

/** Stops and removes a pod with its containers, and the logs where `crib run` made them. */
export async function removePod(
  cri: CriClient,
  pod: {
    readonly id: string;
    readonly labels: Readonly<Record<string, string>>;
  },
  signal: AbortSignal,
): Promise<void> {
  await cri.runtime.stopPodSandbox({ podSandboxId: pod.id }, { signal });
  await cri.runtime.removePodSandbox({ podSandboxId: pod.id }, { signal });
  await removeRunLogs(pod);
}

/** Of a pod of `crib run`; the logs of others are a kubelet's. */
export async function removeRunLogs(pod: {
  readonly labels: Readonly<Record<string, string>>;
}): Promise<void> {
  const logs = runLogDirectory(pod.labels[runLabel]);
  if (logs === undefined) return;
  await rm(logs, { recursive: true, force: true });
  // The last one takes the directory of all of them along.
  await rmdir(dirname(logs)).catch(() => {});
}
