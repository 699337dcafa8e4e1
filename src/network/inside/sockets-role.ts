import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { describe, invalidArgument } from "../../lib/errors.ts";
import { asInteger, asObject, asString, parseJson } from "../../lib/json.ts";
import { CLONE_NEWNET, enterNamespace } from "../../os/security/namespaces.ts";
import { type InetFamily, openTcpSocket } from "../../os/socket/inet-socket.ts";

/** How long the sockets stay here for the daemon to take them. It ends us as soon as it has. */
const holdMs = 10_000;
const maxSockets = 1000;

/**
 * The role `crib sockets`: enters a network namespace and opens sockets, which belong to it wherever they go. Reads a
 * request (JSON, as pod-sockets.ts writes it) from stdin; writes a list of descriptors to stdout, or why there is none.
 */
export function runSockets(_argv: readonly string[]): number {
  writeFileSync(1, JSON.stringify(open()));
  closeSync(1);
  Bun.sleepSync(holdMs);
  return 0;
}

function open(): readonly number[] | string {
  try {
    const { path, family, count } = readRequest();
    const namespace = openSync(path, "r");
    try {
      enterNamespace(namespace, CLONE_NEWNET);
    } finally {
      closeSync(namespace);
    }
    return Array.from({ length: count }, () => openTcpSocket(family).release());
  } catch (err) {
    return describe(err);
  }
}

function readRequest() {
  const request = asObject(parseJson(readFileSync(0), "request", { maxBytes: 65536 }), "request");
  const family = asString(request["family"], "family");
  if (family !== "ipv4" && family !== "ipv6") throw invalidArgument(`no family ${family}`);
  const count = asInteger(request["count"], "count");
  if (count < 1 || count > maxSockets) throw invalidArgument(`${count} sockets`);
  return { path: asString(request["path"], "path"), family: family as InetFamily, count };
}
