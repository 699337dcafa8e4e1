import { expect, test } from "bun:test";
import type { Context } from "../lib/context.ts";
import { kindOf, describe as messageOf } from "../lib/errors.ts";
import { silentLog } from "../lib/log.ts";
import { digestOf } from "../oci/digest.ts";
import { parseReference } from "../oci/reference.ts";
import { Bandwidth } from "./bandwidth.ts";
import { Repository } from "./client.ts";
import type { Credentials } from "./credentials.ts";
import { HostClient } from "./host-client.ts";
import { noProxy } from "./hosts/proxy.ts";
import { plainHost } from "./hosts/registry-host.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };
const secret: Credentials = { username: "user", password: "pa55" };

type Respond = (request: Request, url: URL, count: number) => Response | Promise<Response>;

/** An HTTP server that remembers what it was asked. */
function serve(respond: Respond) {
  const requests: { readonly path: string; readonly authorization: string | null }[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const url = new URL(request.url);
      const authorization = request.headers.get("authorization");
      requests.push({ path: url.pathname + url.search, authorization });
      return respond(request, url, requests.length);
    },
  });
  return {
    requests,
    origin: `http://127.0.0.1:${server.port}`,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

function repository(
  origins: readonly string[],
  credentials?: Credentials,
  { stallMs = 5000, bytesPerSecond = 0 } = {},
): Repository {
  const image = parseReference("reg.test/a/b:1");
  const clients = origins.map((origin, i) => {
    const isMirror = i < origins.length - 1;
    const host = { ...plainHost(new URL(`${origin}/v2`)), isMirror };
    return new HostClient(host, image, {
      proxy: noProxy,
      timeoutMs: stallMs,
      credentials: async () => (isMirror ? undefined : credentials),
    });
  });
  return new Repository("reg.test", clients, {
    stallMs,
    bandwidth: new Bandwidth(bytesPerSecond),
    connections: {
      enter: async () => ({ [Symbol.dispose]: () => {} }),
      tryEnterExtra: () => ({ [Symbol.dispose]: () => {} }),
      isCrowded: false,
      waiting: 0,
    },
  });
}

/** A sink in memory, which may have a part already. */
function memorySink(sizeBytes: number, known: readonly (readonly [number, Uint8Array])[] = []) {
  const parts = new Map<number, Buffer>(known.map(([start, bytes]) => [start, Buffer.from(bytes)]));
  const sorted = () => [...parts].sort(([a], [b]) => a - b);
  return {
    bytes: () => Buffer.concat(sorted().map(([, bytes]) => bytes)),
    gaps() {
      const gaps: { start: number; end: number }[] = [];
      let at = 0;
      for (const [start, bytes] of sorted()) {
        if (start > at) gaps.push({ start: at, end: start });
        at = start + bytes.length;
      }
      return at < sizeBytes ? [...gaps, { start: at, end: sizeBytes }] : gaps;
    },
    async openPart(start: number) {
      let end = start;
      return {
        get end() {
          return end;
        },
        async write(chunk: Uint8Array) {
          parts.set(start, Buffer.concat([parts.get(start) ?? Buffer.alloc(0), chunk]));
          end += chunk.byteLength;
        },
        [Symbol.asyncDispose]: async () => {},
      };
    },
  };
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const err = await promise.then(
    () => new Error("no failure"),
    (cause: unknown) => cause,
  );
  return `${kindOf(err)} ${messageOf(err)}`;
}

const body = Buffer.from("0123456789".repeat(1000));
const blob = {
  mediaType: "x",
  digest: digestOf(body),
  sizeBytes: body.length,
  platform: undefined,
};

async function readAll(
  repo: Repository,
  expected = blob,
  own: Context = ctx,
  sink = memorySink(expected.sizeBytes),
): Promise<Buffer> {
  await repo.download(own, expected, sink, { distrusted: new Set(), onSource: () => {} });
  return sink.bytes();
}

test("fetchManifest() gets a token where the registry says, with the credentials, once", async () => {
  using server = serve((request, url) => {
    if (url.pathname === "/token") {
      expect(url.searchParams.get("scope")).toBe("repository:a/b:pull");
      return Response.json({ token: "t0k3n" });
    }
    if (request.headers.get("authorization") === "Bearer t0k3n") return new Response("{}");
    const realm = `Bearer realm="${url.origin}/token",service="s",scope="repository:a/b:pull"`;
    return new Response("", { status: 401, headers: { "www-authenticate": realm } });
  });
  const repo = repository([server.origin], secret);
  expect((await repo.fetchManifest(ctx, "1")).digest).toBe(digestOf("{}"));
  await repo.fetchManifest(ctx, "2");
  expect(server.requests.map(({ path }) => path.split("?")[0])).toEqual([
    "/v2/a/b/manifests/1",
    "/token",
    "/v2/a/b/manifests/1",
    "/v2/a/b/manifests/2",
  ]);
  expect(server.requests[0]?.authorization).toBeNull();
  expect(server.requests[1]?.authorization).toBe(`Basic ${btoa("user:pa55")}`);
});

test("credentials do not follow a realm or a redirect to another origin, nor to a mirror", async () => {
  using sink = serve((_, url) => {
    if (url.pathname === "/back") return Response.redirect(`${url.searchParams.get("to")}`, 307);
    return url.pathname === "/token" ? Response.json({ token: "anon" }) : new Response(body);
  });
  const elsewhere = sink.origin.replace("127.0.0.1", "localhost");
  using mirror = serve(
    () => new Response("", { status: 401, headers: { "www-authenticate": "Basic" } }),
  );
  using server = serve((request, url) => {
    const authorization = request.headers.get("authorization");
    if (url.pathname.endsWith("/end")) return new Response(body);
    if (authorization === null) {
      const basic = { "www-authenticate": `Bearer realm="${elsewhere}/token"` };
      return new Response("", { status: 401, headers: basic });
    }
    const end = encodeURIComponent(`${url.origin}/end`);
    return Response.redirect(`${sink.origin}/back?to=${end}`, 307);
  });
  const repo = repository([mirror.origin, server.origin], secret);
  expect(await readAll(repo)).toEqual(body);
  expect(sink.requests.map(({ authorization }) => authorization)).toEqual([null, null]);
  expect(mirror.requests.map(({ authorization }) => authorization)).toEqual([null]);
  expect(mirror.requests[0]?.path).toContain("?ns=reg.test");
  expect(server.requests.at(-1)).toEqual({ path: "/end", authorization: null });
});

test("redirects end, and go neither to link-local addresses nor to other schemes", async () => {
  for (const location of [
    "/again",
    "http://169.254.169.254/latest",
    "file:///etc/passwd",
    "http://",
  ]) {
    using server = serve(() => new Response("", { status: 302, headers: { location } }));
    expect(await failure(repository([server.origin]).fetchManifest(ctx, "1"))).toMatch(/redirect/);
  }
}, 20_000);

test("errors have the registry's codes, the right kind, and no secrets", async () => {
  for (const [status, kind] of [
    [401, "unauthenticated"],
    [403, "permission-denied"],
    [404, "not-found"],
    [418, "failed-precondition"],
  ] as const) {
    using server = serve(() =>
      Response.json({ errors: [{ code: "DENIED", message: "pa55" }, { code: "\nx" }] }, { status }),
    );
    const message = await failure(repository([server.origin], secret).fetchManifest(ctx, "1"));
    expect(message).toMatch(new RegExp(`^${kind} .*: ${status} DENIED$`));
    expect(message).not.toContain("pa55");
  }
});

test("a busy registry is asked again, and a mirror that fails gives way", async () => {
  using busy = serve((_, __, count) =>
    count < 3 ? new Response("", { status: 503 }) : new Response("{}"),
  );
  expect((await repository([busy.origin]).fetchManifest(ctx, "1")).digest).toBe(digestOf("{}"));
  using mirror = serve(() => new Response("", { status: 404 }));
  using server = serve(() => new Response(body));
  expect(await readAll(repository([mirror.origin, server.origin]))).toEqual(body);
});

test("a registry that says when to come again is asked then, and not before", async () => {
  for (const after of ["1", new Date(Date.now() + 1500).toUTCString()]) {
    using busy = serve((_, __, count) =>
      count === 1
        ? new Response("", { status: 429, headers: { "retry-after": after } })
        : new Response("{}"),
    );
    const begun = Date.now();
    await repository([busy.origin]).fetchManifest(ctx, "1");
    const earliest = after === "1" ? begun + 1000 : Date.parse(after);
    expect(Date.now()).toBeGreaterThanOrEqual(earliest);
    expect(busy.requests.length).toBe(2);
  }
}, 20_000);

test("a manifest that is not what was asked for, or too long, is refused", async () => {
  using server = serve((_, url) =>
    url.pathname.endsWith("long")
      ? new Response(Buffer.alloc(5 << 20))
      : new Response("{}", { headers: { "docker-content-digest": digestOf("other") } }),
  );
  const repo = repository([server.origin]);
  expect(await failure(repo.fetchManifest(ctx, digestOf("x")))).toMatch(/^data-loss/);
  expect(await failure(repo.fetchManifest(ctx, "1"))).toMatch(/^data-loss/);
  expect(await failure(repo.fetchManifest(ctx, "long"))).toMatch(/^resource-exhausted/);
});

test("findReferrers() follows a list to its end, on the same host and below the same path", async () => {
  using server = serve((_, url) => {
    const page = Number(url.searchParams.get("page") ?? 0);
    const next = `<http://elsewhere.test/v1?page=${page + 1}&n=1>; rel="next"`;
    const headers = { link: page === 0 ? `</>; rel="first", ${next}` : next };
    const manifests = page === 1 ? [] : [{ page }];
    return page === 3 ? Response.json({ manifests }) : Response.json({ manifests }, { headers });
  });
  const pages = await repository([server.origin]).findReferrers(ctx, blob.digest);
  const found = pages.map((page) => JSON.parse(Buffer.from(page).toString()).manifests);
  expect(found).toEqual([[{ page: 0 }], [{ page: 2 }], [{ page: 3 }]]);
  const path = `/v2/a/b/referrers/${blob.digest}`;
  const asked = server.requests.map((request) => request.path);
  expect(asked).toEqual([path, ...[1, 2, 3].map((page) => `${path}?page=${page}&n=1`)]);
});

test("findReferrers() ends with a list that does not", async () => {
  for (const filler of ["", "x".repeat(1 << 20)]) {
    using server = serve((_, __, count) =>
      Response.json(
        { manifests: [{}], filler },
        { headers: { link: `</?page=${count}>; rel=next` } },
      ),
    );
    const pages = await repository([server.origin]).findReferrers(ctx, blob.digest);
    expect(pages.length).toBe(filler === "" ? 100 : 4);
  }
});

/** Sends a part and then ends. */
function broken(bytes: Uint8Array, headers: Record<string, string> = {}, status = 200): Response {
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
  return new Response(stream, { status, headers });
}

test("download() goes on where a connection broke, with and without ranges", async () => {
  using ranges = serve((request, _, count) => {
    const start = Number(/bytes=(\d+)-/.exec(request.headers.get("range") ?? "")?.[1] ?? 0);
    const headers = { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` };
    const rest = body.subarray(start);
    if (count < 3) return broken(rest.subarray(0, 3000), headers, start === 0 ? 200 : 206);
    return new Response(rest, { status: start === 0 ? 200 : 206, headers });
  });
  expect(await readAll(repository([ranges.origin]))).toEqual(body);
  using plain = serve((_, __, count) =>
    count < 3 ? broken(body.subarray(0, 3000 * count)) : new Response(body),
  );
  expect(await readAll(repository([plain.origin]))).toEqual(body);
  using liar = serve((_, __, count) =>
    count === 1
      ? broken(body.subarray(0, 3000))
      : new Response("x", { status: 206, headers: { "content-range": "bytes 0-0/1" } }),
  );
  expect(await failure(readAll(repository([liar.origin])))).toMatch(/^data-loss .*range/);
});

test("download() refuses more bytes than there should be", async () => {
  using server = serve(() => new Response(body));
  const less = { ...blob, sizeBytes: 100 };
  expect(await failure(readAll(repository([server.origin]), less))).toMatch(/^data-loss/);
});

test("download() ends with the context", async () => {
  using server = serve(() => new Response(new ReadableStream({ pull: () => Bun.sleep(60_000) })));
  const signal = AbortSignal.timeout(100);
  const reading = readAll(repository([server.origin]), blob, { ...ctx, signal });
  expect(await failure(reading)).toMatch(/^deadline-exceeded/);
});
