import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { Bandwidth } from "../../src/registry/bandwidth.ts";
import { openRepository } from "../../src/registry/client.ts";
import { explainRegistry } from "../../src/registry/hosts/explain.ts";
import { noProxy, type ProxySettings } from "../../src/registry/hosts/proxy.ts";
import { readRegistries } from "../../src/registry/hosts/registries-yaml.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { run } from "../parts/run.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };
const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** A certificate authority, and certificates of it: `server`, `expired`, `elsewhere` and `client`. */
async function makeCertificates(dir: string): Promise<void> {
  const openssl = (...argv: readonly string[]) => run(["openssl", ...argv], { cwd: dir });
  await openssl(
    ...["req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"],
    ...["-subj", "/CN=test CA"],
  );
  for (const [name, host, days] of [
    ["server", "IP:127.0.0.1,DNS:localhost", "2"],
    ["elsewhere", "DNS:elsewhere.test", "2"],
    ["client", "DNS:client", "2"],
    ["expired", "IP:127.0.0.1", "-1"],
  ] as const) {
    const subject = ["-subj", `/CN=${name}`];
    await openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, ...subject);
    writeFileSync(join(dir, `${name}.ext`), `subjectAltName=${host}\n`);
    const signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    const files = ["-in", `${name}.csr`, "-out", `${name}.pem`, "-extfile", `${name}.ext`];
    await openssl("x509", "-req", ...files, ...signed, "-days", days);
  }
}

describe("how a registry is reached", () => {
  const resources = new AsyncDisposableStack();
  let dir: TempDir;

  beforeAll(async () => {
    dir = resources.use(tempDir());
    await makeCertificates(dir.path);
  });
  afterAll(() => resources.disposeAsync());

  const pem = (name: string) => Bun.file(join(dir.path, name)).text();

  /** An https server that says `{}` to everybody, or only to those with a certificate. */
  const serveTls = async (name: string, wantsClient = false) => {
    const server = createServer(
      {
        key: await pem(`${name}.key`),
        cert: await pem(`${name}.pem`),
        ca: await pem("ca.pem"),
        requestCert: wantsClient,
        rejectUnauthorized: false,
      },
      (request, response) => {
        const { authorized } = request.socket as unknown as { readonly authorized: boolean };
        response.statusCode = wantsClient && !authorized ? 403 : 200;
        response.end("{}");
      },
    );
    return await listening(server);
  };

  const listening = async (server: Server) => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    resources.defer(() => void server.close());
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return `127.0.0.1:${address.port}`;
  };

  const options = (toml: string, proxy: ProxySettings = noProxy) => {
    const { path } = resources.use(tempDir());
    mkdirSync(join(path, "reg.test"));
    writeFileSync(join(path, "reg.test/hosts.toml"), toml.replaceAll("$DIR", dir.path));
    const loadRegistries = () => Promise.resolve(readRegistries);
    return {
      configDirs: [path],
      registriesFiles: [],
      loadRegistries,
      dockerConfigFiles: [],
      proxy,
    };
  };
  const transfer = {
    stallMs: 30_000,
    bandwidth: new Bandwidth(0),
    connections: {
      enter: async () => ({ [Symbol.dispose]: () => {} }),
      tryEnterExtra: () => undefined,
      isCrowded: false,
      waiting: 0,
    },
  };
  const ask = async (toml: string, proxy?: ProxySettings) => {
    const repository = await openRepository(
      ctx,
      { ...options(toml, proxy), transfer },
      parseReference("reg.test/app:1"),
    );
    return await repository.fetchManifest(ctx, "1").then(
      () => "ok",
      (err: unknown) => messageOf(err),
    );
  };

  test("only certificates that are right for the host are believed", async () => {
    const [good, expired, elsewhere] = await Promise.all(
      ["server", "expired", "elsewhere"].map((name) => serveTls(name)),
    );
    const ca = 'ca = "$DIR/ca.pem"';
    expect(await ask(`server = "https://${good}"\n${ca}`)).toBe("ok");
    expect(await ask(`server = "https://${good}"`)).toContain("nobody whom this node trusts");
    expect(await ask(`server = "https://${expired}"\n${ca}`)).toContain("has expired, or this");
    expect(await ask(`server = "https://${elsewhere}"\n${ca}`)).toContain("for another host");
    expect(await ask(`server = "https://${expired}"\nskip_verify = true`)).toBe("ok");
    // What is insecure is the mirror alone.
    const mirror = '[host."https://127.0.0.1:1"]\nskip_verify = true';
    expect(await ask(`server = "https://${expired}"\n${ca}\n${mirror}`)).toMatch(/EXPIRED/);
  });

  test("what is no TLS as we want it is said to be that at once, and never asked without", async () => {
    const connections: string[] = [];
    const raw = (name: string, answer: (socket: Socket) => void) =>
      listening(
        createTcpServer((socket) => {
          connections.push(name);
          socket.on("error", () => {}).once("data", () => answer(socket));
        }),
      );
    const plain = await raw("plain", (socket) =>
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    );
    const reset = await raw("reset", (socket) => socket.resetAndDestroy());
    const old = await startOldTls();
    for (const host of [plain, old]) {
      expect(await ask(`server = "https://${host}"\nca = "$DIR/ca.pem"`)).toMatch(
        /^https:.*: no TLS handshake: it speaks plain HTTP, an old TLS, .*\(EPROTO\)$/,
      );
    }
    // A connection that breaks is another matter.
    expect(await ask(`server = "https://${reset}"`)).toContain("ECONNRESET");
    expect(connections.filter((name) => name === "plain").length).toBe(1);
    expect(connections.filter((name) => name === "reset").length).toBe(4);
  });

  /** A server that knows TLS 1.0 and nothing newer. */
  const startOldTls = async () => {
    const argv = [
      "-tls1",
      "-cipher",
      "ALL@SECLEVEL=0",
      "-cert",
      "server.pem",
      "-key",
      "server.key",
    ];
    const child = Bun.spawn(["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", ...argv], {
      cwd: dir.path,
      stdio: ["ignore", "pipe", "ignore"],
    });
    resources.defer(() => child.kill());
    let said = "";
    for await (const chunk of child.stdout) {
      said += Buffer.from(chunk).toString();
      const [, address] = /^ACCEPT (127\.0\.0\.1:\d+)\n/m.exec(said) ?? [];
      if (address !== undefined) return address;
    }
    throw new Error(`openssl does not listen: ${said}`);
  };

  test("client certificates are shown to the host that they are for", async () => {
    const host = await serveTls("server", true);
    const server = `server = "https://${host}"\nca = "$DIR/ca.pem"\n`;
    expect(await ask(server)).toMatch(/403/);
    expect(await ask(`${server}client = [["$DIR/client.pem", "$DIR/client.key"]]`)).toBe("ok");
  });

  test("a proxy sees what is for it, and the registry does not", async () => {
    const heads: string[] = [];
    const registry = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => {
        heads.push(`registry ${[...request.headers.keys()].join()}`);
        return new Response("{}");
      },
    });
    resources.defer(() => registry.stop(true));
    const proxy = await listening(
      createTcpServer((socket) => {
        socket
          .on("error", () => {})
          .once("data", (data) => {
            heads.push(`proxy ${data.toString()}`);
            const upstream = connect(registry.port ?? 0, "127.0.0.1", () => {
              upstream.write(
                "GET /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
              );
              upstream.pipe(socket);
            });
          });
      }),
    );
    const toml = 'server = "http://far.test"';
    const settings = { http: `http://user:pa55@${proxy}`, https: "", none: [] };
    expect(await ask(toml, settings)).toBe("ok");
    expect(heads[0]).toMatch(/^proxy GET http:\/\/far\.test\/v2\/app/);
    expect(heads[0]?.toLowerCase()).toContain("proxy-authorization: basic");
    expect(heads[1]).not.toContain("proxy");
    const [host] = await explainRegistry(
      ctx,
      options(toml, settings),
      parseReference("reg.test/app"),
      { asks: false, timeoutMs: 1000 },
    );
    expect(host?.proxy).toBe(`http://${proxy}/`);
    expect(JSON.stringify(host)).not.toContain("pa55");
  });

  test("explainRegistry() says what is tried, and what each host returns", async () => {
    const host = await serveTls("server");
    const toml = `server = "https://${host}"\nca = "$DIR/ca.pem"\n[host."http://127.0.0.1:1"]\nheader = {x-secret = "pa55"}`;
    const explained = await explainRegistry(ctx, options(toml), parseReference("reg.test/app"), {
      asks: true,
      timeoutMs: 30_000,
    });
    expect(explained.map(({ url, isMirror, response }) => [url, isMirror, response?.ok])).toEqual([
      ["http://127.0.0.1:1/v2", true, false],
      [`https://${host}/v2`, true, true],
    ]);
    expect(explained[0]?.headers).toEqual(["x-secret"]);
    expect(explained[1]?.ca).toEqual([`${dir.path}/ca.pem`]);
    expect(explained[1]?.file).toEndWith("reg.test/hosts.toml");
    expect(JSON.stringify(explained)).not.toContain("pa55");
  });
});
