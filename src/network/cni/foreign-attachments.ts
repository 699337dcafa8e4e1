import { readdirSync, readFileSync } from "node:fs";
import { asObject, asString, type JsonObject, parseJson } from "../../lib/json.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";

/** An attachment as GC names it (CNI 1.1.0, `cni.dev/valid-attachments`). */
export interface ValidAttachment {
  readonly containerID: string;
  readonly ifname: string;
}

/** Where the CNI library, and with it containerd, CRI-O and podman, keep the results of their attachments. */
export const libraryResultsDir = "/var/lib/cni/results";

const maxResultBytes = 1 << 20;

/**
 * The attachments to `network` that other runtimes of this node have made and not removed, by the files of the CNI
 * library. Throws when a file of that network cannot be read: whose addresses are in use is not known then.
 */
export function foreignAttachments(dir: string, network: string): readonly ValidAttachment[] {
  const names = (ifThere(() => readdirSync(dir)) ?? []).filter((name) =>
    name.startsWith(`${network}-`),
  );
  return names.flatMap((name) => {
    const result = readResult(`${dir}/${name}`);
    // `a-b` and `a` are two networks.
    if (result === undefined || result["networkName"] !== network) return [];
    return [
      {
        containerID: asString(result["containerId"], "containerId"),
        ifname: asString(result["ifName"], "ifName"),
      },
    ];
  });
}

function readResult(path: string): JsonObject | undefined {
  try {
    const limits = { maxBytes: maxResultBytes };
    return asObject(parseJson(readFileSync(path), "result", limits), "result");
  } catch (cause) {
    if (isErrno(cause, "ENOENT")) return undefined;
    throw new Error(`read ${path}`, { cause });
  }
}
