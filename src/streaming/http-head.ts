import { invalidArgument } from "../lib/errors.ts";
import type { ByteChannel } from "../spdy/byte-channel.ts";
import { readHead } from "../spdy/http-head.ts";

const maxHeaders = 100;

export interface RequestHead {
  readonly method: string;
  readonly path: string;
  /** The values of a header, name in lower case; more than one line, or more than one in a line, are separate. */
  values(name: string): readonly string[];
}

/** Reads the head of one HTTP/1.1 request, and what came with it. */
export async function readRequestHead(
  channel: Pick<ByteChannel, "read">,
): Promise<{ readonly head: RequestHead; readonly rest: Buffer }> {
  const { text, rest } = await readHead(channel);
  return { head: parseHead(text), rest };
}

/** RFC 9112 sections 3 and 5, as strictly as our clients are. */
function parseHead(text: string): RequestHead {
  const [requestLine = "", ...lines] = text.split("\r\n");
  const request = /^([A-Z]{1,16}) (\/[\x21-\x7e]*) HTTP\/1\.1$/.exec(requestLine);
  if (request === null) throw invalidArgument("not an HTTP/1.1 request");
  if (lines.length > maxHeaders) throw invalidArgument("too many headers");
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const header = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*?)[ \t]*$/.exec(line);
    if (header === null) throw invalidArgument("not a header");
    const [, name = "", value = ""] = header;
    const values = value.split(",").map((one) => one.trim());
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), ...values]);
  }
  const [, method = "", target = ""] = request;
  return {
    method,
    path: target.split("?", 1)[0] ?? "",
    values: (name) => headers.get(name) ?? [],
  };
}

/** The response to a request that is not upgraded; the connection ends with it. */
export function formatResponse(
  status: string,
  text: string,
  headers: readonly (readonly [string, string])[] = [],
): Buffer {
  return formatHead(
    status,
    [
      ...headers,
      ["Content-Type", "text/plain; charset=utf-8"],
      ["Content-Length", String(Buffer.byteLength(text) + 1)],
      ["X-Content-Type-Options", "nosniff"],
      ["Connection", "close"],
    ],
    `${text}\n`,
  );
}

export function formatHead(
  status: string,
  headers: readonly (readonly [string, string])[],
  body = "",
): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${status}\r\n${lines.join("")}\r\n${body}`);
}
