import { afterEach, describe, expect, test } from "bun:test";
import { copyFileSync, utimesSync } from "node:fs";
import { connect as connectTls } from "node:tls";
import { talk } from "../../src/cli/streams/talk.ts";
import { ByteQueue } from "../../src/lib/byte-queue.ts";
import type { Context } from "../../src/lib/context.ts";
import type { ContainerId, SandboxId } from "../../src/lib/id.ts";
import { silentLog } from "../../src/lib/log.ts";
import { SocketStream } from "../../src/os/socket/socket-stream.ts";
import type { StreamingDeps, TalkingProcess } from "../../src/streaming/deps.ts";
import { StreamingServer } from "../../src/streaming/server.ts";
import type { TerminalSize } from "../../src/streaming/terminal-size.ts";
import { testEnv } from "../harness/command-line.ts";
import { eventually } from "../harness/eventually.ts";
import { openCommand, spdyHeaders } from "../harness/streams/command-client.ts";
import { ForwardClient } from "../harness/streams/forward-client.ts";
import { SpdyClient } from "../harness/streams/spdy-client.ts";
import { dial, upgrade } from "../harness/streams/transport.ts";
import { tempDir } from "../harness/temp-dir.ts";

const ctx: Context = { signal: new AbortController().signal, log: silentLog };
const container = "c".repeat(64) as ContainerId;
const all = { stdin: true, stdout: true, stderr: true, terminal: false };
const onTerminal = { stdin: true, stdout: true, stderr: false, terminal: true };
const plain = { address: "127.0.0.1:0", tlsCertFile: "", tlsKeyFile: "" };

/** A process that a test plays. */
class Played implements TalkingProcess {
  readonly firstSize: TerminalSize | undefined;
  readonly sizes: TerminalSize[] = [];
  readonly input: Buffer[] = [];
  readonly stdout = new ByteQueue();
  readonly stderr = new ByteQueue();
  readonly #end = Promise.withResolvers<number | undefined>();
  readonly ended = this.#end.promise;
  isHungUp = false;
  isInputEnded = false;

  constructor(firstSize?: TerminalSize) {
    this.firstSize = firstSize;
  }

  async writeStdin(bytes: Uint8Array): Promise<void> {
    this.input.push(Buffer.from(bytes));
  }

  endStdin(): void {
    this.isInputEnded = true;
  }

  async resize(size: TerminalSize): Promise<void> {
    this.sizes.push(size);
  }

  exit(code: number): void {
    this.stdout.end();
    this.stderr.end();
    this.#end.resolve(code);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isHungUp = true;
    this.exit(0);
  }
}

let processes: Played[] = [];
let open = new AsyncDisposableStack();

afterEach(async () => {
  await open.disposeAsync();
  open = new AsyncDisposableStack();
  processes = [];
});

function serve(options: Partial<ConstructorParameters<typeof StreamingServer>[2]> = {}) {
  const start = async (firstSize?: TerminalSize) => {
    const process = new Played(firstSize);
    processes.push(process);
    return process;
  };
  const deps: StreamingDeps = {
    exec: (_ctx, _id, { size }) => start(size),
    attach: () => start(),
    ports: () => ({
      connect: () => SocketStream.connect({ unix: "/nowhere" }),
      [Symbol.dispose]: () => {},
    }),
  };
  return open.use(new StreamingServer(ctx, deps, { ...plain, ...options }));
}

const execUrl = (server: StreamingServer) =>
  server.url({ ...all, kind: "exec", container, argv: ["x"] });

async function played(): Promise<Played> {
  return await eventually(() => {
    const process = processes.at(-1);
    if (process === undefined) throw new Error("not started");
    return process;
  });
}

describe.each(["spdy", "websocket"] as const)("over %s", (transport) => {
  test("a client that leaves hangs up", async () => {
    const client = await openCommand(transport, execUrl(serve()), all);
    const process = await played();
    client[Symbol.dispose]();
    await eventually(() => expect(process.isHungUp).toBe(true));
  });

  test("a client that ends its input hears the process out", async () => {
    using client = await openCommand(transport, execUrl(serve()), all);
    const process = await played();
    await client.write("hello");
    await client.endStdin();
    await eventually(() => expect(process.isInputEnded).toBe(true));
    expect(Buffer.concat(process.input).toString()).toBe("hello");
    await process.stdout.push(Buffer.from("bye"));
    process.exit(0);
    expect((await client.status()).status).toBe("Success");
    expect(client.stdout.text).toBe("bye");
  });

  test("a terminal has its client's size before the program starts, and the next ones in order", async () => {
    const server = serve({ firstSizeMs: 60_000 });
    const url = server.url({ ...onTerminal, kind: "exec", container, argv: ["x"] });
    using client = await openCommand(transport, url, { stdin: true, stdout: true, tty: true });
    await client.resize(132, 43);
    const { firstSize, sizes } = await played();
    expect(firstSize).toEqual({ columns: 132, rows: 43 });
    await client.resize(80, 24);
    await eventually(() => expect(sizes.at(-1)).toEqual({ columns: 80, rows: 24 }));
  });

  test("a client that never says its terminal's size gets its program all the same", async () => {
    const url = serve().url({ ...onTerminal, kind: "exec", container, argv: ["x"] });
    using client = await openCommand(transport, url, { stdin: true, stdout: true, tty: true });
    const process = await played();
    expect(process.firstSize).toBeUndefined();
    await client.resize(80, 24);
    await eventually(() => expect(process.sizes).toEqual([{ columns: 80, rows: 24 }]));
  });

  test("a session in which nothing happens ends, and says why", async () => {
    using client = await openCommand(transport, execUrl(serve({ idleMs: 2000 })), all);
    const process = await played();
    // Longer than that in all, and at no time nearly so long.
    for (let i = 0; i < 12; i++) {
      await Bun.sleep(200);
      await process.stdout.push(Buffer.from("still here"));
    }
    expect(process.isHungUp).toBe(false);
    expect((await client.status()).message).toContain("nothing happened");
    expect(process.isHungUp).toBe(true);
    await client.closed;
  });

  test("a server that stops says so to its clients", async () => {
    const server = serve();
    using client = await openCommand(transport, execUrl(server), all);
    await played();
    await server[Symbol.asyncDispose]();
    expect((await client.status()).message).toContain("shutting down");
  });
});

test("a client that does not read holds up the process, and loses nothing", async () => {
  const offer = "X-Stream-Protocol-Version: v4.channel.k8s.io";
  const { transport, socket } = await upgrade(execUrl(serve()), [...spdyHeaders, offer]);
  using client = new SpdyClient(transport);
  const [error, stdout] = await Promise.all(
    ["error", "stdout", "stderr", "stdin"].map((streamType) => client.open({ streamType })),
  );
  const process = await played();
  socket.pause();
  let written = 0;
  const writer = (async () => {
    for (; written < 2000; written++) {
      await process.stdout.push(Buffer.alloc(32 * 1024, written));
    }
    process.exit(0);
  })();
  await Bun.sleep(500);
  expect(written).toBeLessThan(1000); // what the kernel keeps for a connection, and little of ours
  socket.resume();
  await writer;
  expect((await stdout?.received.all())?.byteLength).toBe(2000 * 32 * 1024);
  expect((await error?.received.all())?.toString()).toContain("Success");
});

test("a client that does not open its streams in time is cut off", async () => {
  const offer = "X-Stream-Protocol-Version: v4.channel.k8s.io";
  const url = execUrl(serve({ creationMs: 200 }));
  const { transport } = await upgrade(url, [...spdyHeaders, offer]);
  await new Promise<void>((closed) => transport.onClose(closed));
  expect(processes).toEqual([]);
});

test("a client that does not ask for anything is cut off", async () => {
  const socket = await dial(new URL(execUrl(serve({ headMs: 200 }))).origin);
  socket.write("GET /exec/");
  socket.resume();
  await new Promise((closed) => socket.once("close", closed));
});

test("a WebSocket client of a channel that is not its own is cut off", async () => {
  const socket = new WebSocket(execUrl(serve()).replace("http", "ws"), ["v5.channel.k8s.io"]);
  await new Promise((opened) => {
    socket.onopen = opened;
  });
  const closed = new Promise((resolve) => {
    socket.onclose = resolve;
  });
  socket.send(Buffer.from([1, 2, 3]));
  await closed;
  await eventually(() => expect(processes.at(-1)?.isHungUp).toBe(true));
});

test("port-forward: streams that are no pair are refused, and a lone one after a while", async () => {
  const server = serve({ creationMs: 3000 });
  const url = server.url({ kind: "portforward", sandbox: "s".repeat(64) as SandboxId });
  using client = await ForwardClient.open("spdy", url);
  const refused = (headers: Record<string, string>) =>
    client.spdy.open(headers).then(() => "accepted", String);
  expect(await refused({ streamType: "data", port: "70000" })).toContain("status 3");
  expect(await refused({ streamType: "nonsense", port: "80" })).toContain("status 3");
  expect(await refused({ streamType: "data", port: "80", requestID: "1" })).toBe("accepted");
  expect(await refused({ streamType: "data", port: "80", requestID: "1" })).toContain("status 3");
  expect(await refused({ streamType: "error", port: "81", requestID: "1" })).toContain("status 3");
  const lone = await client.spdy.open({ streamType: "error", port: "80", requestID: "2" });
  expect(await lone.received.all().catch(String)).toContain("reset with status 5");
});

describe("TLS", () => {
  const makeCertificate = (dir: string, name: string) => {
    const files = { cert: `${dir}/${name}.pem`, key: `${dir}/${name}.key` };
    const run = Bun.spawnSync([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...["-nodes", "-keyout", files.key, "-out", files.cert, "-days", "2", "-subj", `/CN=${name}`],
    ]);
    if (run.exitCode !== 0) throw new Error(run.stderr.toString());
    return files;
  };

  const subjectAt = async (url: string): Promise<string> => {
    const { hostname, port } = new URL(url);
    const options = { host: hostname, port: Number(port), rejectUnauthorized: false };
    const socket = connectTls(options);
    await new Promise((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return String(subject.CN);
  };

  test("a new certificate serves new clients, and the old ones go on; a bad one changes nothing", async () => {
    using dir = tempDir();
    const first = makeCertificate(dir.path, "first");
    const second = makeCertificate(dir.path, "second");
    const [tlsCertFile, tlsKeyFile] = [`${dir.path}/cert`, `${dir.path}/key`];
    copyFileSync(first.cert, tlsCertFile);
    copyFileSync(first.key, tlsKeyFile);
    const server = serve({ tlsCertFile, tlsKeyFile });
    const before = execUrl(server);
    expect(before).toStartWith("https://127.0.0.1:");
    expect(await subjectAt(before)).toBe("first");
    using client = await openCommand("spdy", before, all);
    const process = await played();

    copyFileSync(second.cert, tlsCertFile); // with the key of the other: no pair
    utimesSync(tlsCertFile, 1, 1);
    expect(await subjectAt(execUrl(server))).toBe("first");
    copyFileSync(second.key, tlsKeyFile);
    utimesSync(tlsKeyFile, 2, 2);
    const after = execUrl(server);
    expect(new URL(after).port).toBe(new URL(before).port);
    expect(await subjectAt(after)).toBe("second");
    await client.write("still connected");
    await eventually(() => expect(Buffer.concat(process.input).toString()).toBe("still connected"));
    process.exit(0);
    expect((await client.status()).status).toBe("Success");
  });

  test("crib's own client talks to a server with a certificate that nobody has signed", async () => {
    using dir = tempDir();
    const { cert, key } = makeCertificate(dir.path, "own");
    const server = serve({ tlsCertFile: cert, tlsKeyFile: key });
    const { env, written } = testEnv({ stdin: "typed" });
    const talking = talk(env, execUrl(server), { stdin: true, terminal: false });
    const process = await played();
    await eventually(() => expect(process.isInputEnded).toBe(true));
    expect(Buffer.concat(process.input).toString()).toBe("typed");
    const megabyte = Buffer.alloc(1 << 20, "x");
    await process.stdout.push(megabyte);
    await process.stderr.push(Buffer.from("err"));
    process.exit(9);
    expect(await talking).toEqual({ kind: "exit", exitCode: 9 });
    expect(written()).toEqual({ stdout: megabyte.toString(), stderr: "err" });
  });

  test("half a pair is refused at once", () => {
    expect(() => serve({ tlsCertFile: "/x", tlsKeyFile: "" })).toThrow(/belong together/);
  });
});
