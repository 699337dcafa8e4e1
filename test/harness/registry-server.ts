import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parts } from "../parts/paths.ts";
import { run } from "../parts/run.ts";

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** The images of `test/parts/setup.ts` unless it says another; made if missing. */
  readonly dataDir?: string;
  /** Pushing and deleting are refused unless set: tests share the data directory. */
  readonly writable?: boolean;
  /** Asks for these by basic authentication. */
  readonly basicAuth?: Credentials;
  /** Serves https with a certificate for 127.0.0.1 and localhost from a CA of its own. */
  readonly tls?: boolean;
}

export interface RegistryServer extends AsyncDisposable {
  /** `127.0.0.1:PORT`, the first part of an image name. */
  readonly host: string;
  /** With scheme, without a slash at the end. */
  readonly url: string;
  /** PEM file of the CA to trust, when it serves https. */
  readonly caFile: string | undefined;
  /** Everything that the registry has logged so far, its access log included. */
  log(): string;
  /** `GET /v2/debian/manifests/base` and so on, in the order of arrival. */
  requests(): readonly string[];
}

/** How long a registry on this machine may take to listen. */
const startTimeoutMs = 20_000;

/** Debian's docker-registry as a child process on a free port of the loopback interface. */
export async function startRegistry(options: RegistryOptions = {}): Promise<RegistryServer> {
  await using undo = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "registry-"));
  undo.defer(() => rm(dir, { recursive: true, force: true }));

  const caFile = options.tls === true ? join(dir, "ca.pem") : undefined;
  if (caFile !== undefined) await makeCertificates(dir);
  if (options.basicAuth !== undefined) await writePasswords(dir, options.basicAuth);
  const configFile = join(dir, "config.yml");
  // JSON is YAML.
  await Bun.write(configFile, JSON.stringify(registryConfig(dir, options), undefined, 2));

  // setpriv: a test run that is killed leaves no registry behind.
  const argv = [parts.dockerRegistry, "serve", configFile];
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...argv], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    env: { OTEL_TRACES_EXPORTER: "none" },
  });
  const log = new ServerLog(child.stderr);
  undo.defer(async () => {
    child.kill("SIGKILL");
    await Promise.all([child.exited, log.closed]);
  });

  const host = await log.listeningOn(startTimeoutMs);
  const resources = undo.move();
  return {
    host,
    url: `${options.tls === true ? "https" : "http"}://${host}`,
    caFile,
    log: () => log.text,
    requests: () => log.requests(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Registries whose images the test registry holds stand-ins for. */
export const mirroredHosts = [
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

function registryConfig(dir: string, options: RegistryOptions): unknown {
  return {
    version: 0.1,
    log: { level: "info", formatter: "json", accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: options.dataDir ?? parts.registryData },
      delete: { enabled: options.writable === true },
      maintenance: {
        uploadpurging: { enabled: false },
        readonly: { enabled: options.writable !== true },
      },
      redirect: { disable: true },
    },
    http: {
      addr: "127.0.0.1:0",
      relativeurls: true,
      secret: "of no use: nobody else continues an upload",
      ...(options.tls === true
        ? { tls: { certificate: join(dir, "server.pem"), key: join(dir, "server.key") } }
        : {}),
    },
    ...(options.basicAuth === undefined
      ? {}
      : { auth: { htpasswd: { realm: "crib tests", path: join(dir, "htpasswd") } } }),
  };
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

  requests(): readonly string[] {
    // A refused request is logged twice, under one id.
    const byId = new Map<string, string>();
    for (const line of this.text.split("\n")) {
      if (!line.includes('"http.request.id"') || !line.endsWith("}")) continue;
      const entry = JSON.parse(line) as Readonly<Record<string, string>>;
      const id = entry["http.request.id"] ?? "";
      byId.set(id, `${entry["http.request.method"]} ${entry["http.request.uri"]}`);
    }
    return [...byId.values()];
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let isListening = false;
    for await (const chunk of stream) {
      this.text += decoder.decode(chunk, { stream: true });
      if (isListening) continue;
      const address = /listening on (127\.0\.0\.1:\d+)/u.exec(this.text)?.[1];
      if (address === undefined) continue;
      isListening = true;
      this.#listening.resolve(address);
    }
    this.#listening.reject(new Error(`registry ended:\n${this.text}`));
  }
}
