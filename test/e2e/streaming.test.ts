import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { ContainerState, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { crictl } from "../harness/crictl.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type Pod, runPod, startScript, statusOf } from "../harness/pod.ts";
import { openCommand, spdyHeaders, type Wanted } from "../harness/streams/command-client.ts";
import { ForwardClient } from "../harness/streams/forward-client.ts";
import { echoInPod } from "../harness/streams/pod-echo.ts";
import {
  controlFrame,
  dataFrame,
  headerBlock,
  SpdyClient,
  uint32,
} from "../harness/streams/spdy-client.ts";
import { dial, type UpgradeError, upgrade } from "../harness/streams/transport.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

let logs: TempDir;
let daemon: Daemon;
let pod: Pod;
let sleeper: string;

beforeAll(async () => {
  logs = tempDir();
  daemon = await Daemon.start({ demoImage: true });
  pod = await runPod(daemon.cri, logs.path);
  sleeper = await startScript(daemon.cri, pod, "sleep 3600");
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  logs[Symbol.dispose]();
});

const all: Wanted = { stdin: true, stdout: true, stderr: true };
const terminal: Wanted = { stdin: true, stdout: true, tty: true };

async function execUrl(wanted: Wanted, ...cmd: readonly string[]): Promise<string> {
  const request = { containerId: sleeper, cmd: [...cmd], ...wanted };
  return (await daemon.cri.runtime.exec(request)).url;
}

const sh = (wanted: Wanted, script: string) => execUrl(wanted, "/bin/sh", "-c", script);

async function attachUrl(containerId: string, wanted: Wanted): Promise<string> {
  return (await daemon.cri.runtime.attach({ containerId, ...wanted })).url;
}

async function forwardUrl(podSandboxId: string): Promise<string> {
  return (await daemon.cri.runtime.portForward({ podSandboxId })).url;
}

/** Not `expect().rejects`, which waits without letting everything else go on. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => "no failure", String);
}

const success = { metadata: {}, status: "Success" };

describe.each(["spdy", "websocket"] as const)("over %s", (transport) => {
  test("exec gives stdout and stderr apart, and its exit code", async () => {
    using client = await openCommand(
      transport,
      await sh({ stdout: true, stderr: true }, "echo out; echo err >&2; exit 7"),
      { stdout: true, stderr: true },
    );
    expect(await client.status()).toMatchObject({
      status: "Failure",
      reason: "NonZeroExitCode",
      details: { causes: [{ reason: "ExitCode", message: "7" }] },
    });
    expect(client.stdout.text).toBe("out\n");
    expect(client.stderr.text).toBe("err\n");
    await client.closed;
  });

  test("exec carries 10 MB through stdin and back byte by byte, and sees its end", async () => {
    const bytes = randomBytes(10 << 20);
    using client = await openCommand(transport, await execUrl(all, "/bin/cat"), all);
    await client.write(bytes);
    await client.endStdin();
    expect(await client.status()).toEqual(success);
    expect((await client.stdout.all()).equals(bytes)).toBe(true);
  });

  test("exec ends with its process although stdin is open, and all output is there", async () => {
    for (let i = 0; i < 20; i++) {
      using client = await openCommand(transport, await sh(all, "seq 1 20000"), all);
      expect(await client.status()).toEqual(success);
      expect(client.stdout.text.endsWith("\n19999\n20000\n")).toBe(true);
      expect(client.stdout.size).toBe(108_894);
    }
  });

  test("exec -it: a prompt, sizes, Ctrl-C, Ctrl-D", async () => {
    // The size comes when the program runs, if it was long in coming.
    const script =
      "until stty size 2>/dev/null; do sleep 0.1; done; trap 'echo caught' INT; cat; echo again; cat; exit 4";
    using client = await openCommand(transport, await sh(terminal, script), terminal);
    await client.resize(132, 43);
    await client.stdout.until("43 132\r\n");
    await client.write("typed\n");
    await client.stdout.until("typed\r\ntyped\r\n");
    await client.write("\x03");
    await client.stdout.until("caught\r\nagain");
    await client.write("\x04");
    expect(await client.status()).toMatchObject({ details: { causes: [{ message: "4" }] } });
    using sized = await openCommand(
      transport,
      await sh(terminal, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"),
      terminal,
    );
    await sized.stdout.until("ready");
    await sized.resize(99, 11);
    await sized.stdout.until("11 99");
  });

  test("a program that is not there, and a container that has ended, are errors", async () => {
    using client = await openCommand(transport, await execUrl(all, "/bin/no-such"), all);
    const status = await client.status();
    expect(status.reason).toBe("InternalError");
    expect(status.message).toContain("no-such");
    const ended = await startScript(daemon.cri, pod, "sleep 1000", { stdin: true });
    const request = { containerId: ended, cmd: ["/bin/true"], stdout: true };
    const { url } = await daemon.cri.runtime.exec(request);
    await daemon.cri.runtime.stopContainer({ containerId: ended, timeout: 0n });
    await eventually(async () => {
      const { state } = await statusOf(daemon.cri, ended);
      expect(state).toBe(ContainerState.CONTAINER_EXITED);
    });
    expect(await failureOf(daemon.cri.runtime.exec(request))).toMatch(/not running/);
    using late = await openCommand(transport, url, { stdout: true });
    expect((await late.status()).message).toContain("not running");
  });

  test("attach: two clients see the same, input goes to the program, stdin_once ends it", async () => {
    const id = await startScript(daemon.cri, pod, "while read x; do echo got $x; done; exit 6", {
      stdin: true,
      stdinOnce: true,
    });
    using first = await openCommand(transport, await attachUrl(id, all), all);
    const watch = { stdout: true, stderr: true };
    using second = await openCommand(transport, await attachUrl(id, watch), watch);
    // The second has no way to know that it is connected but that it sees something.
    await eventually(async () => {
      await first.write("probe\n");
      expect(second.stdout.text).toContain("got probe\n");
    });
    for (let i = 0; i < 100; i++) await first.write(`line ${i}\n`);
    const expected = Array.from({ length: 100 }, (_, i) => `got line ${i}\n`).join("");
    await first.stdout.until("got line 99\n");
    await first.endStdin();
    expect(await first.status()).toEqual(success);
    expect(await second.status()).toEqual(success);
    for (const { stdout } of [first, second]) {
      expect(stdout.text.replaceAll("got probe\n", "")).toBe(expected);
    }
    await eventually(async () => expect((await statusOf(daemon.cri, id)).exitCode).toBe(6));
  });

  test("attach to a terminal: detach and come back, Ctrl-C", async () => {
    const id = await startScript(daemon.cri, pod, "trap 'echo bye; exit 9' INT; cat", {
      stdin: true,
      tty: true,
    });
    for (const word of ["one", "two"]) {
      using client = await openCommand(transport, await attachUrl(id, terminal), terminal);
      await client.resize(80, 24);
      await client.write(`${word}\n`);
      await client.stdout.until(`${word}\r\n${word}\r\n`);
    }
    using last = await openCommand(transport, await attachUrl(id, terminal), terminal);
    await last.write("\x03");
    expect(await last.status()).toEqual(success);
    expect(last.stdout.text).toContain("bye");
    await eventually(async () => expect((await statusOf(daemon.cri, id)).exitCode).toBe(9));
  });

  test("port-forward: 100 connections at once with 100 MB, byte by byte", async () => {
    await using _server = await echoInPod(daemon, pod.id, port(transport));
    using client = await ForwardClient.open(transport, await forwardUrl(pod.id));
    const piece = randomBytes(1 << 20);
    const began = performance.now();
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const connection = await client.dial(port(transport));
        await connection.write(piece);
        await connection.end();
        const back = await connection.received.all();
        expect(back.equals(piece)).toBe(true);
        expect((await connection.error.all()).toString()).toBe("");
      }),
    );
    console.log(
      `${transport}: 100 MB there and back in ${Math.round(performance.now() - began)} ms`,
    );
  });

  test("port-forward to a port where nobody listens says so, and goes on", async () => {
    using client = await ForwardClient.open(transport, await forwardUrl(pod.id));
    for (let i = 0; i < 3; i++) {
      const connection = await client.dial(9);
      expect((await connection.error.all()).toString()).toContain("nothing listens on port 9");
    }
    expect(await failureOf(client.dial(0))).toMatch("reset");
    expect(await failureOf(client.dial(65536))).toMatch("reset");
  });
});

function port(transport: "spdy" | "websocket"): number {
  return transport === "spdy" ? 8081 : 8082;
}

test("port-forward into a pod on the node's network reaches the node, and ::1 where 127.0.0.1 refuses", async () => {
  await using server = Bun.serve({ port: 0, hostname: "::1", fetch: () => new Response("six") });
  const linux = {
    securityContext: {
      namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER },
    },
  };
  const host = await runPod(daemon.cri, logs.path, { linux });
  using client = await ForwardClient.open("spdy", await forwardUrl(host.id));
  const connection = await client.dial(server.port ?? 0);
  await connection.write(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
  await connection.end();
  expect((await connection.received.all()).toString()).toEndWith("six");
});

test("port-forward ends with its pod", async () => {
  const other = await runPod(daemon.cri, logs.path);
  await startScript(daemon.cri, other, "nc -ll -p 80 -e cat");
  using client = await ForwardClient.open("spdy", await forwardUrl(other.id));
  const connection = await eventually(async () => {
    const attempt = await client.dial(80);
    await attempt.write(Buffer.from("x"));
    await attempt.received.until("x");
    return attempt;
  });
  await daemon.cri.runtime.stopPodSandbox({ podSandboxId: other.id });
  await client.spdy.closed;
  await expect(connection.received.all()).rejects.toThrow();
  expect(await failureOf(forwardUrl(other.id))).toMatch(/not ready/);
});

test("crictl: exec and attach over both transports", async () => {
  for (const transport of ["spdy", "websocket"]) {
    expect(
      await crictl(daemon.socket, "exec", "--transport", transport, sleeper, "echo", "hello"),
    ).toBe("hello");
    expect(
      await failureOf(
        crictl(daemon.socket, "exec", "--transport", transport, sleeper, "sh", "-c", "exit 3"),
      ),
    ).toMatch(/exit code 3|exited with/);
  }
});

describe("requests", () => {
  test("exec and attach need a stream, and a terminal has no stderr", async () => {
    expect(await failureOf(execUrl({}, "ls"))).toMatch(
      /invalid_argument.*stdin, stdout and stderr/,
    );
    expect(await failureOf(execUrl({ ...all, tty: true }, "ls"))).toMatch(/invalid_argument/);
    expect(await failureOf(attachUrl(sleeper, {}))).toMatch(/invalid_argument/);
    expect(await failureOf(attachUrl(sleeper, terminal))).toMatch(/invalid_argument.*tty/);
    expect(await failureOf(attachUrl("0".repeat(64), all))).toMatch(/not_found/);
    expect(await failureOf(forwardUrl("0".repeat(64)))).toMatch(/not_found/);
    const request = { podSandboxId: pod.id, port: [70_000] };
    expect(await failureOf(daemon.cri.runtime.portForward(request))).toMatch(/invalid_argument/);
  });

  test("a URL is good once, for one kind, and for a name that nobody can guess", async () => {
    const offer = [...spdyHeaders, "X-Stream-Protocol-Version: v4.channel.k8s.io"];
    const statusFor = async (target: string, headers = offer, method = "POST") => {
      try {
        const { socket } = await upgrade(target, headers, method);
        socket.destroy();
        return 101;
      } catch (err) {
        return (err as UpgradeError).status;
      }
    };
    const url = await sh(all, "true");
    expect(new URL(url).hostname).toBe("127.0.0.1");
    expect(new URL(url).pathname).toMatch(/^\/exec\/[0-9a-f]{32}$/);
    expect(await statusFor(url)).toBe(101);
    expect(await statusFor(url)).toBe(404);
    const wrongKind = await sh(all, "true");
    expect(await statusFor(wrongKind.replace("/exec/", "/attach/"))).toBe(404);
    expect(await statusFor(wrongKind)).toBe(404);
    expect(await statusFor(`${new URL(url).origin}/exec/${"0".repeat(32)}`)).toBe(404);
    expect(await statusFor(`${new URL(url).origin}/`)).toBe(404);
    expect(await statusFor(await sh(all, "true"), offer, "DELETE")).toBe(404);
    expect(await statusFor(await sh(all, "true"), [])).toBe(400);
    expect(await statusFor(await sh(all, "true"), ["Connection: Upgrade", "Upgrade: h2c"])).toBe(
      400,
    );
    const unknown = [...spdyHeaders, "X-Stream-Protocol-Version: v9.channel.k8s.io"];
    expect(await statusFor(await sh(all, "true"), unknown)).toBe(403);
  });

  test("a thousand may be outstanding", async () => {
    const urls = new Set<string>();
    const failure = await (async () => {
      // Many at once: they are good for a minute.
      while (urls.size < 1100) {
        const some = Array.from({ length: 50 }, () => sh(all, "true"));
        for (const answer of await Promise.allSettled(some)) {
          if (answer.status === "rejected") throw answer.reason;
          urls.add(answer.value);
        }
      }
      return undefined;
    })().catch((err: unknown) => err);
    expect(String(failure)).toContain("resource_exhausted");
    expect(urls.size).toBeGreaterThan(900);
    for (const url of urls) await upgrade(url, []).catch(() => {}); // uses them up
    await sh(all, "true");
  });
});

/** What the daemon holds open. */
function descriptors(): number {
  return readdirSync(`/proc/${daemon.pid}/fd`).length;
}

describe("a client that leaves", () => {
  test("takes nothing of the daemon with it: 200 execs and attaches of silent programs", async () => {
    const quiet = await startScript(daemon.cri, pod, "sleep 3600", { stdin: true });
    const once = async () => {
      using exec = await openCommand("spdy", await sh(all, "cat >/dev/null"), all);
      using attached = await openCommand("spdy", await attachUrl(quiet, all), all);
      await exec.write("x");
      await attached.write("x");
    };
    for (let i = 0; i < 5; i++) await once();
    await eventually(() => expect(descriptors()).toBeGreaterThan(0));
    await Bun.sleep(500);
    const before = descriptors();
    for (let i = 0; i < 100; i++) await once();
    await eventually(() => expect(descriptors()).toBeLessThanOrEqual(before + 2));
  });

  test("hangs up the terminal of its exec", async () => {
    const script = "trap 'touch /tmp/hung-up; exit' HUP; echo ready; while :; do sleep 0.05; done";
    {
      using client = await openCommand("spdy", await sh(terminal, script), terminal);
      await client.stdout.until("ready");
    }
    await eventually(async () => {
      const request = { containerId: sleeper, cmd: ["test", "-e", "/tmp/hung-up"] };
      expect((await daemon.cri.runtime.execSync(request)).exitCode).toBe(0);
    });
  });
});

describe("a hostile client", () => {
  /** An exec whose streams are open, and what a test may send into it. */
  async function opened(): Promise<SpdyClient> {
    const offer = "X-Stream-Protocol-Version: v4.channel.k8s.io";
    const { transport } = await upgrade(await sh(all, "cat"), [...spdyHeaders, offer]);
    const client = new SpdyClient(transport);
    for (const streamType of ["error", "stdin", "stdout", "stderr"])
      await client.open({ streamType });
    return client;
  }

  const synStream = (id: number, block: Buffer) => {
    const head = Buffer.alloc(10);
    head.writeUInt32BE(id, 0);
    return controlFrame(1, Buffer.concat([head, block]));
  };

  const cases: Readonly<Record<string, (client: SpdyClient) => Promise<Buffer>>> = {
    "settings that count 2^32-1": async () => controlFrame(4, uint32(0xffffffff)),
    "a control frame of 16 MiB": async () => Buffer.from([0x80, 3, 0, 4, 0, 0xff, 0xff, 0xff]),
    "another version": async () => Buffer.from([0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]),
    "2^32-1 headers": async (client) => synStream(99, await client.compress(uint32(0xffffffff))),
    "a header of 2^32-1 bytes": async (client) =>
      synStream(99, await client.compress(uint32(1, 0xffffffff))),
    "a header block that unpacks to 8 MiB": async (client) =>
      synStream(99, await client.compress(Buffer.alloc(8 << 20))),
    "a header block that is no zlib": async () => synStream(99, Buffer.from("no zlib at all")),
    "an even stream": async (client) => synStream(98, await client.compress(headerBlock({}))),
    "stream zero": async (client) => synStream(0, await client.compress(headerBlock({}))),
    "a stream that is there already": async (client) =>
      synStream(1, await client.compress(headerBlock({}))),
    "a frame that is too short": async () => controlFrame(3, uint32(1)),
  };

  test.each(Object.keys(cases))("sends %s and is cut off", async (name) => {
    using client = await opened();
    for (const byte of (await cases[name]?.(client)) ?? []) {
      await client.send(Buffer.from([byte])).catch(() => {});
    }
    await client.closed;
  });

  test("is held to its streams; data for nobody is dropped", async () => {
    using client = await opened();
    expect(await failureOf(client.open({ streamType: "stdin" }))).toMatch("reset with status 3");
    expect(await failureOf(client.open({ streamType: "nonsense" }))).toMatch("reset with status 3");
    await client.send(dataFrame(4711, Buffer.alloc(1 << 20)));
    for (let i = 0; i < 10_000; i++) await client.send(controlFrame(3, uint32(2 * i + 4001, 5)));
    for (let i = 0; i < 10_000; i++) await client.send(controlFrame(6, uint32(2 * i + 1)));
    await eventually(() => expect(client.frames.filter((type) => type === 6).length).toBe(10_000));
  });

  test("sends half a request, or garbage, and is told off", async () => {
    const { origin } = new URL(await sh(all, "true"));
    for (const [bytes, answer] of [
      ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", /^HTTP\/1.1 400 /],
      ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", /^HTTP\/1.1 400 /],
      [`GET / HTTP/1.1\r\nX: ${"a".repeat(20_000)}`, /^HTTP\/1.1 400 /],
      ["GET /exec/x HTTP/1.1\r\nHost: x\r\n", /^HTTP\/1.1 400 /],
    ] as const) {
      const socket = await dial(origin);
      let received = "";
      socket.on("data", (chunk) => {
        received += String(chunk);
      });
      socket.on("error", () => {});
      socket.write(bytes);
      await new Promise((closed) => socket.once("close", closed));
      expect(received).toMatch(answer);
    }
  });

  test("has cost the daemon neither its life nor its memory", async () => {
    const status = readFileSync(`/proc/${daemon.pid}/status`, "latin1");
    expect(Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1])).toBeLessThan(300_000);
    expect(await crictl(daemon.socket, "exec", sleeper, "echo", "alive")).toBe("alive");
  });
});
