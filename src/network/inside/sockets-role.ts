import { closeSync, readFileSync, writeFileSync } from "node:fs";
import { describe, invalidArgument } from "../../lib/errors.ts";
import { asInteger, asObject, asString, parseJson } from "../../lib/json.ts";
import { CLONE_NEWNET, enterNamespace } from "../../os/security/namespaces.ts";
import { type InetFamily, openTcpSocket } from "../../os/socket/inet-socket.ts";

/** How long the sockets stay here for the daemon to take them, longer than it waits. It ends us as soon as it has. */
const holdMs = 60_000;
const maxSockets = 1000;
const families: readonly InetFamily[] = ["ipv4", "ipv6"];

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
    enterNamespace(path, CLONE_NEWNET);
    return Array.from({ length: count }, () => openTcpSocket(family).release());
  } catch (err) {
    return describe(err);
  }
}

function readRequest() {
  const request = asObject(parseJson(readFileSync(0), "request", { maxBytes: 65536 }), "request");
  const name = asString(request["family"], "family");
  const family = families.find((known) => known === name);
  if (family === undefined) throw invalidArgument(`no family ${name}`);
  const count = asInteger(request["count"], "count");
  if (count < 1 || count > maxSockets) throw invalidArgument(`${count} sockets`);
  return { path: asString(request["path"], "path"), family, count };
}
