import { createPrivateKey, type KeyObject, sign, X509Certificate } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parts } from "../parts/paths.ts";
import { run } from "../parts/run.ts";
import { eventually } from "./eventually.ts";

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** The images of `test/parts/setup.ts` unless it says another, made if missing; of a writable one, an empty one. */
  readonly dataDir?: string;
  /** Pushing and deleting are refused unless set. */
  readonly writable?: boolean;
  /** Asks for these by basic authentication. */
  readonly basicAuth?: Credentials;
  /** Asks for a bearer token, which a server beside it gives to these, or to everybody. */
  readonly tokenAuth?: Credentials | "anonymous";
  /** Of this machine; 127.0.0.1 unless told. */
  readonly address?: string;
  /** Serves https with a certificate for 127.0.0.1 and localhost from a CA of its own. */
  readonly tls?: boolean;
}

export interface RegistryServer extends AsyncDisposable {
  /** `ADDRESS:PORT`, the first part of an image name. */
  readonly host: string;
  /** With scheme, without a slash at the end. */
  readonly url: string;
  /** PEM file of the CA to trust, when it serves https. */
  readonly caFile: string | undefined;
  /** Everything that the registry has logged so far, its access log included. */
  log(): string;
  /** `GET /v2/debian/manifests/base` and so on, in the order of arrival: all that have been answered. */
  requests(): Promise<readonly string[]>;
}

/** How long a registry on this machine may take to listen. */
const startTimeoutMs = 120_000;

/** Debian's docker-registry as a child process on a free port of the loopback interface. */
export async function startRegistry(options: RegistryOptions = {}): Promise<RegistryServer> {
  await using rollback = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "registry-"));
  rollback.defer(() => rm(dir, { recursive: true, force: true }));

  const caFile = options.tls === true ? join(dir, "ca.pem") : undefined;
  if (options.tls === true || options.tokenAuth !== undefined) await makeCertificates(dir);
  const tokens =
    options.tokenAuth === undefined
      ? undefined
      : rollback.use(await startTokenServer(dir, options.tokenAuth));
  if (options.basicAuth !== undefined) await writePasswords(dir, options.basicAuth);
  const configFile = join(dir, "config.yml");
  // JSON is YAML.
  await Bun.write(
    configFile,
    JSON.stringify(registryConfig(dir, options, tokens?.realm), undefined, 2),
  );

  // setpriv: a test run that is killed leaves no registry behind.
  const argv = [parts.dockerRegistry, "serve", configFile];
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...argv], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    env: { OTEL_TRACES_EXPORTER: "none" },
  });
  const log = new ServerLog(child.stderr);
  rollback.defer(async () => {
    child.kill("SIGKILL");
    await Promise.all([child.exited, log.closed]);
  });

  const host = await log.listeningOn(startTimeoutMs);
  const url = `${options.tls === true ? "https" : "http"}://${host}`;
  const resources = rollback.move();
  return {
    host,
    url,
    caFile,
    log: () => log.text,
    requests: () => log.requests(url),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Registries whose images the test registry holds stand-ins for. */
const mirroredHosts = [
  "registry.k8s.io",
  "gcr.io",
  "k8s.gcr.io",
  "public.ecr.aws",
  "docker.io",
] as const;

/**
 * A `certs.d` directory as containerd reads it, by which all images of those registries come from the one at
 * `registryHost`. It is the server too, so that a missing image is an answer and not a wait for the internet.
 */
export async function writeMirrors(dir: string, registryHost: string): Promise<void> {
  const url = `http://${registryHost}`;
  for (const host of mirroredHosts) {
    await mkdir(join(dir, host), { recursive: true });
    await Bun.write(
      join(dir, host, "hosts.toml"),
      `server = "${url}"\n\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`,
    );
  }
}

function registryConfig(dir: string, options: RegistryOptions, realm: string | undefined): unknown {
  return {
    version: 0.1,
    log: { level: "info", formatter: "json", accesslog: { disabled: true } },
    storage: {
      filesystem: {
        rootdirectory:
          options.dataDir ?? (options.writable ? join(dir, "data") : parts.registryData),
      },
      delete: { enabled: options.writable === true },
      maintenance: {
        uploadpurging: { enabled: false },
        readonly: { enabled: options.writable !== true },
      },
      redirect: { disable: true },
    },
    http: {
      addr: `${options.address ?? "127.0.0.1"}:0`,
      relativeurls: true,
      secret: "of no use: nobody else continues an upload",
      ...(options.tls === true
        ? { tls: { certificate: join(dir, "server.pem"), key: join(dir, "server.key") } }
        : {}),
    },
    ...(options.basicAuth === undefined
      ? {}
      : { auth: { htpasswd: { realm: "crib tests", path: join(dir, "htpasswd") } } }),
    ...(realm === undefined
      ? {}
      : { auth: { token: { realm, service, issuer, rootcertbundle: join(dir, "ca.pem") } } }),
  };
}

const service = "crib test registry";
const issuer = "crib test tokens";
const tokenLifetimeS = 300;

/** Gives tokens for whatever is asked, by GET as the distribution specification has it. */
async function startTokenServer(
  dir: string,
  allowed: Credentials | "anonymous",
): Promise<AsyncDisposable & { readonly realm: string }> {
  const key = createPrivateKey(await Bun.file(join(dir, "ca.key")).text());
  const certificate = new X509Certificate(await Bun.file(join(dir, "ca.pem")).text());
  const expected =
    allowed === "anonymous" ? undefined : btoa(`${allowed.username}:${allowed.password}`);
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      if (request.method !== "GET") return new Response(null, { status: 405 });
      const given = request.headers.get("authorization");
      if (expected !== undefined && given !== `Basic ${expected}`) {
        return Response.json({ details: "incorrect username or password" }, { status: 401 });
      }
      const { searchParams } = new URL(request.url);
      const scopes = searchParams.getAll("scope").flatMap((scope) => scope.split(" "));
      return Response.json({
        token: makeToken(scopes, key, certificate),
        expires_in: tokenLifetimeS,
        issued_at: new Date().toISOString(),
      });
    },
  });
  return {
    realm: `http://127.0.0.1:${server.port}/token`,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

/** A JSON web token as docker-registry wants it: signed with the CA's key, its certificate in the header. */
function makeToken(
  scopes: readonly string[],
  key: KeyObject,
  certificate: X509Certificate,
): string {
  const now = Math.floor(Date.now() / 1000);
  const access = scopes.map((scope) => {
    // The name may have a colon in it: `repository:localhost:5000/name:pull`.
    const [, type = "", name = "", actions = ""] = /^([^:]*):(.*):([^:]*)$/u.exec(scope) ?? [];
    return { type, name, actions: actions.split(",") };
  });
  const encode = (value: unknown): string =>
    Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = [
    encode({ typ: "JWT", alg: "ES256", x5c: [certificate.raw.toString("base64")] }),
    encode({
      ...{ iss: issuer, aud: service, sub: "", jti: crypto.randomUUID() },
      ...{ iat: now, nbf: now - 10, exp: now + tokenLifetimeS },
      access,
    }),
  ].join(".");
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

async function writePasswords(dir: string, { username, password }: Credentials): Promise<void> {
  const hash = await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });
  const path = join(dir, "htpasswd");
  await Bun.write(path, `${username}:${hash}\n`);
  await chmod(path, 0o600);
}

async function makeCertificates(dir: string): Promise<void> {
  const openssl = (...argv: readonly string[]): Promise<string> =>
    run(["openssl", ...argv], { cwd: dir });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    ...["req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"],
    ...["-subj", "/CN=crib test CA"],
  );
  await openssl(
    ...["req", ...newKey, "-keyout", "server.key", "-out", "server.csr"],
    ...["-subj", "/CN=localhost"],
  );
  await Bun.write(join(dir, "names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  await openssl(
    ...["x509", "-req", "-in", "server.csr", "-out", "server.pem", "-days", "2"],
    ...["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"],
  );
}

/** Begins the path of requests that tests do not count. */
const marked = "/v2/?mark=";

/** What the registry says, read as it comes so that the child never waits for its pipe. */
class ServerLog {
  text = "";
  readonly closed: Promise<void>;
  readonly #listening = Promise.withResolvers<string>();

  constructor(stream: ReadableStream<Uint8Array>) {
    this.closed = this.#read(stream);
  }

  /** Asking for port 0 and reading the answer leaves no moment in which another process takes the port. */
  async listeningOn(timeoutMs: number): Promise<string> {
    const timer = setTimeout(
      () => this.#listening.reject(new Error(`registry does not listen:\n${this.text}`)),
      timeoutMs,
    );
    try {
      return await this.#listening.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async requests(url: string): Promise<readonly string[]> {
    // A line comes after its answer: what was answered before these two is there when theirs are.
    for (const mark of [crypto.randomUUID(), crypto.randomUUID()]) {
      await fetch(`${url}${marked}${mark}`, { tls: { rejectUnauthorized: false } });
      await eventually(() => {
        if (!this.text.includes(mark)) throw new Error("the registry has not logged its answer");
      });
    }
    // A refused request is logged twice, under one id.
    const byId = new Map<string, string>();
    for (const line of this.text.split("\n")) {
      if (!line.includes('"http.request.id"') || !line.endsWith("}")) continue;
      const entry = JSON.parse(line) as Readonly<Record<string, string>>;
      const id = entry["http.request.id"] ?? "";
      byId.set(id, `${entry["http.request.method"]} ${entry["http.request.uri"]}`);
    }
    return [...byId.values()].filter((line) => !line.includes(marked));
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let isListening = false;
    for await (const chunk of stream) {
      this.text += decoder.decode(chunk, { stream: true });
      if (isListening) continue;
      const address = /listening on ([\d.]+:\d+)/u.exec(this.text)?.[1];
      if (address === undefined) continue;
      isListening = true;
      this.#listening.resolve(address);
    }
    this.#listening.reject(new Error(`registry ended:\n${this.text}`));
  }
}
