import { createHash } from "node:crypto";
import { formatHead, type RequestHead } from "./http-head.ts";

/** What a request is upgraded to. `protocol` is the one of ours that was agreed on, "" for a client that named none. */
export interface Upgrade {
  readonly transport: "spdy" | "websocket";
  readonly protocol: string;
  /** The 101 response. */
  readonly response: Buffer;
}

/** Why a request cannot be upgraded. */
export interface NoUpgrade {
  readonly status: string;
  readonly text: string;
  readonly headers?: readonly (readonly [string, string])[];
}

/** Protocols of ours for each transport; the client's order decides. */
export interface Protocols {
  readonly spdy: readonly string[];
  readonly websocket: readonly string[];
}

const spdyHeader = "X-Stream-Protocol-Version";

export function negotiate(head: RequestHead, protocols: Protocols): Upgrade | NoUpgrade {
  const upgrades = head.values("upgrade").map((one) => one.toLowerCase());
  const isUpgrade = head.values("connection").some((one) => one.toLowerCase() === "upgrade");
  if (!isUpgrade) return { status: "400 Bad Request", text: "an Upgrade is needed" };
  if (upgrades.includes("websocket")) return negotiateWebSocket(head, protocols.websocket);
  if (upgrades.includes("spdy/3.1")) return negotiateSpdy(head, protocols.spdy);
  return { status: "400 Bad Request", text: "Upgrade is neither SPDY/3.1 nor websocket" };
}

function negotiateSpdy(head: RequestHead, ours: readonly string[]): Upgrade | NoUpgrade {
  const theirs = head.values(spdyHeader.toLowerCase());
  const protocol = theirs.length === 0 ? "" : theirs.find((one) => ours.includes(one));
  if (protocol === undefined) {
    return {
      status: "403 Forbidden",
      text: "no stream protocol in common",
      headers: ours.map((one) => ["X-Accepted-Stream-Protocol-Versions", one]),
    };
  }
  const response = formatHead("101 Switching Protocols", [
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ...(protocol === "" ? [] : ([[spdyHeader, protocol]] as const)),
  ]);
  return { transport: "spdy", protocol, response };
}

/** RFC 6455 section 4.2. No extension is agreed on. */
function negotiateWebSocket(head: RequestHead, ours: readonly string[]): Upgrade | NoUpgrade {
  const [key = "", ...moreKeys] = head.values("sec-websocket-key");
  const [version = ""] = head.values("sec-websocket-version");
  const isKey = Buffer.from(key, "base64").byteLength === 16 && moreKeys.length === 0;
  if (head.method !== "GET" || !isKey) {
    return { status: "400 Bad Request", text: "not a WebSocket handshake" };
  }
  if (version !== "13") {
    return {
      status: "426 Upgrade Required",
      text: "WebSocket version 13 is needed",
      headers: [["Sec-WebSocket-Version", "13"]],
    };
  }
  const protocol = head.values("sec-websocket-protocol").find((one) => ours.includes(one));
  if (protocol === undefined) {
    return { status: "403 Forbidden", text: "no WebSocket protocol in common" };
  }
  const accept = createHash("sha1").update(`${key}${websocketGuid}`).digest("base64");
  const response = formatHead("101 Switching Protocols", [
    ["Connection", "Upgrade"],
    ["Upgrade", "websocket"],
    ["Sec-WebSocket-Accept", accept],
    ["Sec-WebSocket-Protocol", protocol],
  ]);
  return { transport: "websocket", protocol, response };
}

const websocketGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
