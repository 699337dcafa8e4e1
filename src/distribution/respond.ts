import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context } from "../lib/context.ts";
import type { Digest } from "../oci/digest.ts";
import type { DistributionDeps } from "./deps.ts";
import { parseRequest } from "./request.ts";

/** Serves one request (distribution-spec 1.1, pull). */
export async function respond(
  ctx: Context,
  deps: DistributionDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const isHead = request.method === "HEAD";
  if (!isHead && request.method !== "GET") {
    refuse(response, 405, "UNSUPPORTED", { allow: "GET, HEAD" });
    return;
  }
  const asked = parseRequest(request.url ?? "");
  switch (asked?.kind) {
    case undefined:
      refuse(response, 404, "UNSUPPORTED");
      return;
    case "base":
      send(response, isHead, Buffer.from("{}"), { "content-type": "application/json" });
      return;
    case "tags": {
      const { repository } = asked.name;
      const body = Buffer.from(
        JSON.stringify({ name: repository, tags: deps.listTags(asked.name) }),
      );
      send(response, isHead, body, { "content-type": "application/json" });
      return;
    }
    case "manifest": {
      const found = await deps.findManifest(ctx, asked.name, asked.reference);
      if (found === undefined) refuse(response, 404, "MANIFEST_UNKNOWN");
      else {
        const headers = { "content-type": found.mediaType, ...digestHeaders(found.digest) };
        send(response, isHead, found.bytes, headers);
      }
      return;
    }
    case "blob":
      await serveBlob(ctx, deps, asked, request, response);
  }
}

async function serveBlob(
  ctx: Context,
  deps: DistributionDeps,
  { name, digest }: Extract<ReturnType<typeof parseRequest>, { kind: "blob" }>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const isHead = request.method === "HEAD";
  const blob = await deps.findBlob(ctx, name, digest);
  if (blob === undefined) {
    refuse(response, 404, "BLOB_UNKNOWN");
    return;
  }
  using place = isHead ? undefined : deps.tryEnter();
  if (!isHead && place === undefined) {
    refuse(response, 503, "TOOMANYREQUESTS", { "retry-after": "1" });
    return;
  }
  const { sizeBytes, readRange } = blob;
  const range = isHead ? undefined : readRange && rangeOf(request.headers.range, sizeBytes);
  if (range === "none") {
    refuse(response, 416, "SIZE_INVALID", { "content-range": `bytes */${sizeBytes}` });
    return;
  }
  response.writeHead(range === undefined ? 200 : 206, {
    "content-type": "application/octet-stream",
    "content-length": range === undefined ? sizeBytes : range.end - range.start,
    // One that is made while it is sent has no way into the middle of it.
    "accept-ranges": readRange === undefined ? "none" : "bytes",
    ...(range && { "content-range": `bytes ${range.start}-${range.end - 1}/${sizeBytes}` }),
    ...digestHeaders(digest),
  });
  if (!isHead) {
    for await (const chunk of range && readRange ? readRange(range) : blob.read()) {
      if (!response.write(chunk)) await drained(ctx, response);
      ctx.signal.throwIfAborted();
    }
  }
  response.end();
}

/** Of one range; several, or what is no range, are served with everything (RFC 9110, 14.2). */
function rangeOf(
  header: string | undefined,
  sizeBytes: number,
): { readonly start: number; readonly end: number } | "none" | undefined {
  const [, first = "", last = ""] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === "") return undefined;
  const start = Number(first);
  const end = last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  return start < end ? { start, end } : "none";
}

async function drained({ signal }: Context, response: ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  response.once("drain", done);
  signal.addEventListener("abort", done, { once: true });
  if (signal.aborted) resolve();
  await promise;
  response.off("drain", done);
  signal.removeEventListener("abort", done);
}

function digestHeaders(digest: Digest): Readonly<Record<string, string>> {
  return { "docker-content-digest": digest, etag: `"${digest}"` };
}

function send(
  response: ServerResponse,
  isHead: boolean,
  body: Uint8Array,
  headers: Readonly<Record<string, string>>,
): void {
  response.writeHead(200, { ...headers, "content-length": body.byteLength });
  response.end(isHead ? undefined : body);
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] }));
}
