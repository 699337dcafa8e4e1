import { invalidArgument } from "../../lib/errors.ts";

/** The namespaces that a sandbox pins by itself. */
export const namespaceKinds = ["net", "ipc", "uts"] as const;
export type NamespaceKind = (typeof namespaceKinds)[number];

/** One kernel parameter that belongs to a namespace. `path` is below `/proc/sys`. */
export interface Sysctl {
  readonly key: string;
  readonly path: string;
  readonly value: string;
  readonly kind: NamespaceKind;
  /** It belongs to an interface that the network plugins make. */
  readonly ofInterface: boolean;
}

const maxSysctls = 256;
const maxValueBytes = 1024;
// An interface name may hold a dot, written as "/" when the others are dots and the reverse (sysctl(8)).
const part = /^[A-Za-z0-9_@:-][A-Za-z0-9_@:.-]*$/;
const controlCharacter = /\p{Cc}/u;

const ipcKeys = new Set(["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"]);
const ipcPrefixes = ["kernel.shm", "kernel.msg", "fs.mqueue."];
const utsKeys = new Set(["kernel.domainname"]);

/**
 * What a pod asks for, checked: every key must belong to one of `kinds`, the namespaces that are the pod's own. Anything else
 * would change the node (CVE-2022-0532) and is refused, as is a value that is more than one line.
 */
export function parseSysctls(
  sysctls: Readonly<Record<string, string>>,
  kinds: readonly NamespaceKind[],
): readonly Sysctl[] {
  const entries = Object.entries(sysctls);
  if (entries.length > maxSysctls) throw invalidArgument(`more than ${maxSysctls} sysctls`);
  return entries.map(([key, value]) => {
    const shown = JSON.stringify(key.slice(0, 100));
    const parts = splitKey(key);
    if (parts === undefined) throw invalidArgument(`sysctl ${shown}: not a valid name`);
    const kind = namespaceOf(parts);
    if (kind === undefined || !kinds.includes(kind)) {
      throw invalidArgument(
        kind === undefined
          ? `sysctl ${shown}: belongs to no namespace of a pod`
          : `sysctl ${shown}: the pod uses the node's ${kind} namespace`,
      );
    }
    if (Buffer.byteLength(value) > maxValueBytes) {
      throw invalidArgument(`sysctl ${shown}: value over ${maxValueBytes} bytes`);
    }
    // A tab separates numbers (net.ipv4.tcp_rmem); no other control character is part of a value.
    if (controlCharacter.test(value.replaceAll("\t", " "))) {
      throw invalidArgument(`sysctl ${shown}: control character in the value`);
    }
    return { key, path: parts.join("/"), value, kind, ofInterface: isOfInterface(parts) };
  });
}

/** The first separator decides which of `.` and `/` separates; the other one is part of a name. */
function splitKey(key: string): readonly string[] | undefined {
  if (key.length > 256) return undefined;
  const slash = key.indexOf("/");
  const dot = key.indexOf(".");
  const withSlashes = slash !== -1 && (dot === -1 || slash < dot);
  const parts = withSlashes
    ? key.split("/")
    : key.split(".").map((name) => name.replaceAll("/", "."));
  return parts.length > 1 && parts.every((name) => part.test(name)) ? parts : undefined;
}

/** `net.ipv4.conf.eth0.rp_filter`, `net.ipv6.neigh.eth0.retrans_time_ms`, `net.mpls.conf.eth0.input`. */
function isOfInterface([, , table = "", name = ""]: readonly string[]): boolean {
  const isThere = ["all", "default", "lo"].includes(name);
  return (table === "conf" || table === "neigh") && !isThere;
}

function namespaceOf(parts: readonly string[]): NamespaceKind | undefined {
  const key = parts.join(".");
  if (parts[0] === "net") return "net";
  if (ipcKeys.has(key) || ipcPrefixes.some((prefix) => key.startsWith(prefix))) return "ipc";
  return utsKeys.has(key) ? "uts" : undefined;
}

/** What a new network namespace gets before the pod's own values. A kernel without one of them is fine. */
export const defaultNetSysctls: Readonly<Record<string, string>> = {
  // Any user of the pod may listen on port 80 and ping: there is nobody else in there to protect.
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.ping_group_range": "0\t2147483647",
  // A router advertisement from another pod must not change this pod's routes (CVE-2020-10749).
  "net.ipv6.conf.all.accept_ra": "0",
  "net.ipv6.conf.default.accept_ra": "0",
};
