import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HostAliasSchema } from "../../gen/crib/admin/v1/admin_pb.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { UsageError } from "../failure.ts";

export type RunNetwork =
  | { readonly kind: "pod" | "host" | "none" }
  /** That of the pod which `key` names, or of the pod of the container that it names. */
  | { readonly kind: "container"; readonly key: string };

/** `default` and docker's `bridge` are the network that pods of this node have. */
export function parseNetwork(text: string | undefined): RunNetwork {
  if (text === undefined || text === "default" || text === "bridge") return { kind: "pod" };
  if (text === "host" || text === "none") return { kind: text };
  const [, key] = /^container:(.+)$/.exec(text) ?? [];
  if (key !== undefined) return { kind: "container", key };
  throw new UsageError(
    `--network ${text}: not default, host, none or container:NAME; all pods of a node are in one network`,
  );
}

export interface DnsOptions {
  readonly dns: readonly string[];
  readonly "dns-search": readonly string[];
  readonly "dns-option": readonly string[];
}

/** What is not given is the node's. A search of `.` is none. */
export function parseDns(
  options: DnsOptions,
  readNode: () => string = () => readFileSync("/etc/resolv.conf", "utf8"),
): MessageInitShape<typeof pb.DNSConfigSchema> | undefined {
  const { dns, "dns-search": search, "dns-option": option } = options;
  if (dns.length + search.length + option.length === 0) return undefined;
  const wrong = dns.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new UsageError(`--dns ${wrong}: not an IP address`);
  for (const [name, words] of Object.entries({ "dns-search": search, "dns-option": option })) {
    const bad = words.find((word) => !/^[\x21-\x7e]{1,255}$/.test(word));
    if (bad !== undefined) throw new UsageError(`--${name} ${bad}: not one word`);
  }
  const node = readNode()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  const ofNode = (keyword: string) => node.filter(([word]) => word === keyword);
  return {
    servers:
      dns.length > 0 ? [...dns] : ofNode("nameserver").flatMap(([, address]) => address ?? []),
    searches:
      search.length > 0
        ? search.filter((word) => word !== ".")
        : (ofNode("search").at(-1)?.slice(1) ?? []),
    options: option.length > 0 ? [...option] : ofNode("options").flatMap(([, ...words]) => words),
  };
}

/** `NAME:IP` or `NAME=IP`; an IPv6 address may be in brackets. */
export function parseAddHost(text: string): MessageInitShape<typeof HostAliasSchema> {
  const [, name = "", address = ""] = /^([\w.-]{1,253})[:=](.+)$/.exec(text) ?? [];
  const ip = address.replace(/^\[(.*)\]$/, "$1");
  if (ip === "host-gateway") {
    throw new UsageError(`--add-host ${text}: host-gateway is not known here: give an address`);
  }
  if (isIP(ip) === 0) throw new UsageError(`--add-host ${text}: not NAME:IP`);
  return { ip, name };
}

/** `NAME=VALUE` */
export function parseSysctls(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name = "", value = ""] = /^([\w./-]+)=(.*)$/s.exec(text) ?? [];
      if (name === "") throw new UsageError(`--sysctl ${text}: not NAME=VALUE`);
      return [name, value];
    }),
  );
}
