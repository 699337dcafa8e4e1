import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { CribCommand, type Typed } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { demoImage as image } from "../harness/pod.ts";
import { echoInPod } from "../harness/streams/pod-echo.ts";

let daemon: Daemon;
let crib: CribCommand;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
  crib = new CribCommand(daemon);
  await crib.ok("run", "-d", "--name", "web", image, "sh", "-c", "sleep 3600");
});

afterAll(() => daemon[Symbol.asyncDispose]());

/** Ends a script on a terminal: prints the exit code of what came before, and keeps the terminal open. */
const tell = 'printf "\\ncode=$?.\\n"; read wait';

const codeOn = async ({ screen }: Typed): Promise<number> => {
  await screen.until("\ncode=").catch(() => {});
  await screen.until(".\r\n");
  return Number(/\ncode=(\d+)\./.exec(screen.text)?.[1]);
};

/** What `stty -g` has printed, one after the other. */
const modesOn = ({ screen }: Typed) => screen.text.match(/[0-9a-f]+(:[0-9a-f]+){30,}/g) ?? [];

/** What a command has written when that is enough. */
async function readUntil(
  stream: ReadableStream<Uint8Array>,
  isEnough: (text: string) => boolean,
): Promise<string> {
  const reader = stream.getReader();
  let text = "";
  while (!isEnough(text)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`it has ended with ${JSON.stringify(text)}`);
    text += Buffer.from(value).toString();
  }
  return text;
}

describe("crib exec", () => {
  test("carries 10 MB through stdin and back byte by byte, more than ExecSync's 16 MiB out, and every exit code", async () => {
    const bytes = randomBytes(10 << 20);
    const child = crib.start(["exec", "-i", "web", "cat"], new Blob([bytes]));
    expect(Buffer.from(await child.stdout.bytes()).equals(bytes)).toBe(true);
    expect(await child.exited).toBe(0);
    const large = crib.start(["exec", "web", "head", "-c", "40000000", "/dev/zero"]);
    expect((await large.stdout.bytes()).byteLength).toBe(40_000_000);
    for (const code of [0, 1, 42, 255]) {
      expect((await crib.run(["exec", "web", "sh", "-c", `exit ${code}`])).code).toBe(code);
    }
  });

  test("separates stdout from stderr, shows both as they come, and sees the end of stdin", async () => {
    const script = "echo out; echo err >&2; read line; echo got $line; cat; exit 3";
    const child = crib.start(["exec", "-i", "web", "sh", "-c", script], "pipe");
    const stdin = child.stdin as Bun.FileSink;
    const reader = child.stdout.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("out\n");
    stdin.write("a line\n");
    await stdin.flush();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("got a line\n");
    await stdin.end();
    expect(await child.stderr.text()).toBe("err\n");
    expect(await child.exited).toBe(3);
  });

  test("on a terminal: sizes, keys, Ctrl-C, Ctrl-D, exit code, and the terminal is as before", async () => {
    const inside = "trap 'echo caught' INT; trap 'stty size' WINCH; echo ready; cat; cat; exit 4";
    await using shell = crib.typeInto(
      `stty -g; crib exec -it web sh -c "${inside}"; ${tell.replace(";", "; stty -g;")}`,
    );
    const { screen } = shell;
    // Before that, keys are still the shell's, Ctrl-C too.
    await screen.until("ready\r\n");
    shell.type("typed\r");
    await screen.until("typed\r\ntyped\r\n");
    shell.resize(99, 11);
    // Nothing is printed while `cat` reads: another command looks whether it has got there.
    const look = "for one in /dev/pts/[0-9]*; do stty -F $one size; done";
    await eventually(async () =>
      expect(await crib.ok("exec", "web", "sh", "-c", look)).toContain("11 99"),
    );
    shell.type("\x03");
    await screen.until("11 99");
    await screen.until("caught");
    shell.type("\x04");
    expect(await codeOn(shell)).toBe(4);
    const modes = await eventually(() => {
      expect(modesOn(shell)).toHaveLength(2);
      return modesOn(shell);
    });
    expect(modes[1]).toBe(modes[0] as string);
  });

  test.each(["TERM", "HUP", "QUIT", "INT"])(
    "ended by SIG%s gives the terminal back",
    async (signal) => {
      const script = [
        "stty -g; exec 3<&0",
        "crib exec -it web sh -c 'echo ready; sleep 1000' <&3 &",
        `until stty -a <&3 | grep -q -- -icanon; do sleep 0.05; done; sleep 0.3; kill -${signal} $!`,
        "wait $!; stty -g <&3; echo over; read wait",
      ].join("\n");
      await using shell = crib.typeInto(script);
      await shell.screen.until("over");
      const modes = modesOn(shell);
      expect(modes).toHaveLength(2);
      expect(modes[1]).toBe(modes[0] as string);
    },
  );

  test("says what goes wrong: no program, no container, no terminal, a daemon that is gone", async () => {
    expect(await crib.run(["exec", "web", "/bin/no-such"])).toMatchObject({
      code: 127,
      stderr: expect.stringMatching(/^crib: .*no-such.*\n$/),
    });
    expect(await crib.run(["exec", "web", "no-such"])).toMatchObject({ code: 127 });
    expect(await crib.run(["exec", "web", "/etc"])).toMatchObject({ code: 126 });
    expect(await crib.run(["exec", "--timeout", "5", "web", "/etc"])).toMatchObject({ code: 126 });
    expect((await crib.run(["exec", "none", "ls"])).stderr).toBe('crib: no container "none"\n');
    expect(await crib.run(["exec", "-it", "web", "sh"])).toMatchObject({ code: 125 });
    const child = crib.start(["exec", "web", "sh", "-c", "echo up; sleep 1000"]);
    await child.stdout.getReader().read();
    await daemon.end("SIGKILL");
    expect(await child.stderr.text()).toStartWith("crib: the daemon cut the connection");
    expect(await child.exited).toBe(125);
    await daemon.start();
  });

  test("--timeout kills the command", async () => {
    const { code } = await crib.run(["exec", "--timeout", "1", "web", "sleep", "4711"]);
    expect(code).toBe(125);
    await eventually(async () => expect(await crib.ok("exec", "web", "ps")).not.toContain("4711"));
  });
});

describe("crib run -it and crib attach", () => {
  test("a shell that is left with the keys, found again by two, and ends", async () => {
    await using first = crib.typeInto(`crib run -it --rm --name shell ${image} sh; ${tell}`);
    await first.screen.until("/ # ");
    first.type("echo $((6*7))\r");
    await first.screen.until("42\r\n");
    first.type("\x10\x11");
    await first.screen.until("detached from");
    expect(await codeOn(first)).toBe(0);

    const attach = `crib attach shell; ${tell}`;
    await using second = crib.typeInto(attach);
    await using third = crib.typeInto(attach);
    await eventually(() => {
      for (const one of [second, third]) one.type("\r");
      for (const one of [second, third]) expect(one.screen.text).toContain("/ # ");
    });
    second.type("echo $((6*9))\r");
    await Promise.all([second.screen.until("54\r\n"), third.screen.until("54\r\n")]);
    second.type("exit 5\r");
    expect(await codeOn(second)).toBe(5);
    expect(await codeOn(third)).toBe(5);
    // --rm holds although its client has left.
    await eventually(async () => expect(await crib.ok("ps", "-a")).not.toContain("shell"));
  });

  test("without a terminal: stdin to its end, both outputs, the exit code, nothing left", async () => {
    const argv = ["run", "--rm", "-i", image, "sh", "-c", "wc -c; echo err >&2; exit 6"];
    const bytes = new Blob([randomBytes(3_000_000)]);
    expect(await crib.run(argv, bytes)).toEqual({ code: 6, stdout: "3000000\n", stderr: "err\n" });
    expect(await crib.ok("pods", "-q")).not.toContain("\n\n");
    expect((await crib.ok("pods")).split("\n")).toHaveLength(3); // the header, web, the end
  });

  test("without a terminal no bytes are keys to leave", async () => {
    const script = 'read -r line; echo "$line"; exit 7';
    await crib.ok("run", "-d", "-i", "--name", "lines", image, "sh", "-c", script);
    const line = "\x10\x11 and on\n";
    const { code, stdout } = await crib.run(["attach", "lines"], new Blob([line]));
    expect([code, stdout]).toEqual([7, line]);
    await crib.ok("rm", "lines");
  });

  test("a program that is not there leaves the terminal as it was, and no pod", async () => {
    await using shell = crib.typeInto(
      `stty -g; crib run --rm -it ${image} /no/such; ${tell.replace(";", "; stty -g;")}`,
    );
    expect(await codeOn(shell)).toBe(127);
    await eventually(() => expect(modesOn(shell)).toHaveLength(2));
    const modes = modesOn(shell);
    expect(modes).toHaveLength(2);
    expect(modes[1]).toBe(modes[0] as string);
    expect((await crib.ok("pods")).split("\n")).toHaveLength(3);
  });

  test("attach --no-stdin looks on, Ctrl-C leaves, and the container goes on", async () => {
    const script = "while :; do echo tick; sleep 0.1; done";
    await crib.ok("run", "-d", "--name", "ticker", image, "sh", "-c", script);
    const child = crib.start(["attach", "--no-stdin", "ticker"]);
    const { value } = await child.stdout.getReader().read();
    expect(Buffer.from(value ?? []).toString()).toMatch(/^(tick\n)+$/);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(await crib.ok("ps")).toContain("ticker");
    const watching = crib.start(["attach", "ticker"]);
    const seen = await readUntil(watching.stdout, (text) => text.length >= "tick\ntick\n".length);
    await crib.ok("rm", "-f", "ticker");
    await watching.exited;
    expect(seen).toStartWith("tick\ntick\n");
  });
});

async function echoServer(port: number): Promise<AsyncDisposable> {
  const [id = ""] = (await crib.ok("pods", "-q")).split("\n");
  return await echoInPod(daemon, id, port);
}

/** Sends bytes, ends, and returns what came back; rejects at a reset. */
function exchange(port: number, bytes: Uint8Array): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("data", (chunk) => chunks.push(chunk as Buffer));
  socket.on("end", () => resolve(Buffer.concat(chunks))).on("error", reject);
  socket.end(bytes);
  return promise;
}

describe("crib port-forward", () => {
  async function forward(...ports: readonly string[]) {
    const child = crib.start(["port-forward", "web", ...ports]);
    const text = await readUntil(child.stdout, (seen) => seen.split("\n").length > ports.length);
    const local = [...text.matchAll(/^127\.0\.0\.1:(\d+) -> web:/gm)].map(([, port]) =>
      Number(port),
    );
    return { child, local };
  }

  test("50 connections at once with 50 MB, byte by byte; a port where nobody listens is told, and no harm", async () => {
    await using _server = await echoServer(8080);
    const { child, local } = await forward(":8080", ":9");
    const [open = 0, closed = 0] = local;
    const piece = randomBytes(1 << 20);
    const began = performance.now();
    const refused = exchange(closed, piece).catch((err: unknown) => String(err));
    const all = Promise.all(Array.from({ length: 50 }, () => exchange(open, piece)));
    const answers = await all.catch(async (cause: unknown) => {
      child.kill("SIGKILL");
      throw new Error(await child.stderr.text(), { cause });
    });
    console.log(`50 MB there and back in ${Math.round(performance.now() - began)} ms`);
    for (const answer of answers) expect(answer.equals(piece)).toBe(true);
    expect(await refused).toMatch(/ECONNRESET|EPIPE/);
    expect((await exchange(open, piece)).equals(piece)).toBe(true);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(await child.stderr.text()).toBe(
      "crib: forward port 9: nothing listens on port 9: connect: ECONNREFUSED\n",
    );
  });

  test("a connection that stands still holds up no other, and costs no memory", async () => {
    await using _server = await echoServer(8081);
    const { child, local } = await forward(":8081");
    const [port = 0] = local;
    const stuck = connect({ host: "127.0.0.1", port });
    stuck.pause();
    stuck.write(Buffer.alloc(32 << 20));
    await Bun.sleep(300);
    const piece = randomBytes(1 << 20);
    expect((await exchange(port, piece)).equals(piece)).toBe(true);
    const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
    expect(Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1])).toBeLessThan(150_000);
    stuck.destroy();
    expect((await exchange(port, piece)).equals(piece)).toBe(true);
    child.kill("SIGTERM");
    await child.exited;
  });

  test("no such pod, a port that is taken, a pod that ends", async () => {
    expect(await crib.run(["port-forward", "none", "80"])).toMatchObject({ code: 3 });
    expect(await crib.run(["port-forward", "web", "70000"])).toMatchObject({ code: 2 });
    await using _server = await echoServer(8082);
    const { child, local } = await forward(":8082");
    const taken = await crib.run(["port-forward", "web", `${local[0]}:80`]);
    expect(taken).toMatchObject({ code: 1, stderr: expect.stringContaining("is in use") });
    await crib.ok("stop", "--time", "0", "web");
    await exchange(local[0] ?? 0, Buffer.from("x")).catch(() => {});
    expect(await child.exited).toBe(1);
    expect(await child.stderr.text()).toContain("not ready");
  });
});
