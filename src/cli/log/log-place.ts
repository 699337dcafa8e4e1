import { basename, dirname } from "node:path";
import { asObject, parseJson } from "../../lib/json.ts";
import type { CriClient } from "../client.ts";
import type { LogPlace } from "./log-file.ts";

/** A log by its whole path. Where it is not below its pod's directory, what its own directory leads to is believed. */
export function logPlaceOf(path: string, logDirectory: string): LogPlace {
  const podDirectory = logDirectory.replace(/\/+$/, "");
  if (podDirectory !== "" && path.startsWith(`${podDirectory}/`)) {
    return { podDirectory, name: path.slice(podDirectory.length + 1) };
  }
  return { podDirectory: dirname(path), name: basename(path) };
}

const maxInfoBytes = 1024 * 1024;

/** Of a pod: it is in crib's verbose status, and nowhere in CRI. "" where it is not there. */
export async function findLogDirectory(
  cri: CriClient,
  podSandboxId: string,
  signal: AbortSignal,
): Promise<string> {
  const response = await cri.runtime.podSandboxStatus({ podSandboxId, verbose: true }, { signal });
  const text = response.info["info"] ?? "{}";
  const { logDirectory } = asObject(parseJson(text, "info", { maxBytes: maxInfoBytes }), "info");
  return typeof logDirectory === "string" ? logDirectory : "";
}
