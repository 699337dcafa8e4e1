import { readFileSync, statSync } from "node:fs";
import type { SocketHandler, TCPSocketListener, TLSOptions } from "bun";
import type { Context } from "../lib/context.ts";
import { describe, invalidArgument } from "../lib/errors.ts";

export interface ListenerOptions {
  /** IP address and port; the kernel chooses port 0. */
  readonly address: string;
  /** Both, or neither for plain HTTP. Read again when they change. */
  readonly tlsCertFile: string;
  readonly tlsKeyFile: string;
}

/** The listening socket, which is opened anew with each new certificate: connections that are there keep theirs. */
export class Listener implements Disposable {
  readonly #ctx: Context;
  readonly #options: ListenerOptions;
  readonly #handlers: SocketHandler<unknown, "buffer">;
  readonly #hostname: string;
  #certificate: Certificate | undefined;
  #listener: TCPSocketListener<unknown>;

  constructor(ctx: Context, options: ListenerOptions, handlers: SocketHandler<unknown, "buffer">) {
    this.#ctx = ctx;
    this.#options = options;
    this.#handlers = handlers;
    const { hostname, port } = parseAddress(options.address);
    this.#hostname = hostname;
    this.#certificate = readCertificate(options);
    this.#listener = this.#listen(port, this.#certificate);
  }

  /** Scheme, address and port for a URL. */
  get origin(): string {
    const host = this.#hostname.includes(":") ? `[${this.#hostname}]` : this.#hostname;
    const scheme = this.#certificate === undefined ? "http" : "https";
    return `${scheme}://${host}:${this.#listener.port}`;
  }

  /** Takes a new certificate if there is one. A bad one is logged, and the old one stays. */
  refresh(): void {
    if (this.#certificate === undefined) return;
    try {
      if (stampOf(this.#options) === this.#certificate.stamp) return;
      const next = readCertificate(this.#options);
      const { port } = this.#listener;
      // Proves the pair before the old listener goes.
      this.#listen(0, next).stop();
      this.#listener.stop();
      this.#listener = this.#listen(port, next);
      this.#certificate = next;
      this.#ctx.log.info("streaming certificate renewed", { file: this.#options.tlsCertFile });
    } catch (err) {
      this.#ctx.log.warn("streaming certificate not renewed", { err: describe(err) });
    }
  }

  #listen(port: number, certificate: Certificate | undefined): TCPSocketListener<unknown> {
    return Bun.listen({
      hostname: this.#hostname,
      port,
      allowHalfOpen: true,
      socket: this.#handlers,
      ...(certificate === undefined ? {} : { tls: certificate.tls }),
    });
  }

  [Symbol.dispose](): void {
    this.#listener.stop();
  }
}

interface Certificate {
  /** Changes with the files. */
  readonly stamp: string;
  readonly tls: TLSOptions;
}

function readCertificate(options: ListenerOptions): Certificate | undefined {
  const { tlsCertFile, tlsKeyFile } = options;
  if (tlsCertFile === "" && tlsKeyFile === "") return undefined;
  if (tlsCertFile === "" || tlsKeyFile === "") {
    throw invalidArgument("streaming: tls_cert_file and tls_key_file belong together");
  }
  const stamp = stampOf(options);
  return { stamp, tls: { cert: readFileSync(tlsCertFile), key: readFileSync(tlsKeyFile) } };
}

function stampOf({ tlsCertFile, tlsKeyFile }: ListenerOptions): string {
  return [tlsCertFile, tlsKeyFile]
    .map((file) => statSync(file))
    .map(({ ino, mtimeMs, size }) => `${ino}:${mtimeMs}:${size}`)
    .join(" ");
}

/** `127.0.0.1:0` or `[::1]:0`. */
function parseAddress(address: string): {
  readonly hostname: string;
  readonly port: number;
} {
  const [, hostname = "", port = ""] =
    /^(?:\[(?=.*\])|(?!.*\]))(.+?)\]?:(\d{1,5})$/.exec(address) ?? [];
  if (hostname === "" || Number(port) > 65535) {
    throw invalidArgument(`streaming address ${address}: not IP:port`);
  }
  return { hostname, port: Number(port) };
}
