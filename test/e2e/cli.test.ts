import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { demoImage as image } from "../harness/pod.ts";

let daemon: Daemon;
let command: CribCommand;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
  command = new CribCommand(daemon);
});
afterAll(() => daemon[Symbol.asyncDispose]());

const crib = (...argv: readonly string[]) => command.run(argv);
const cribOk = (...argv: readonly string[]) => command.ok(...argv);

describe("crib run", () => {
  test("separates stdout from stderr, returns the exit code, and leaves nothing with --rm", async () => {
    const script = 'echo "$GREETING from $(id -u)"; echo oops >&2; exit 7';
    const answer = await crib(
      ...["run", "--rm", "--name", "once", "-e", "GREETING=hello", "-u", "65534", image],
      ...["sh", "-c", script],
    );
    expect(answer).toEqual({ stdout: "hello from 65534\n", stderr: "oops\n", code: 7 });
    expect(await cribOk("pods", "-q")).toBe("");
  });

  test("loses no byte of a burst", async () => {
    const { stdout, code } = await crib("run", "--rm", image, "seq", "1", "100000");
    expect(stdout).toBe(Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join(""));
    expect(code).toBe(0);
  });

  test("hands Ctrl-C on as a stop", async () => {
    const script =
      "trap 'echo stopped; exit 5' TERM; echo ready; while :; do sleep 1 & wait $!; done";
    const argv = ["run", "--rm", "--name", "patient", image, "sh", "-c", script];
    const child = command.start(argv);
    const reader = child.stdout.getReader();
    const first = await reader.read();
    expect(Buffer.from(first.value ?? []).toString()).toBe("ready\n");
    child.kill("SIGINT");
    const second = await reader.read();
    expect(Buffer.from(second.value ?? []).toString()).toBe("stopped\n");
    expect(await child.exited).toBe(5);
    expect(await cribOk("pods", "-q")).toBe("");
  });

  test("mounts what it is told to", async () => {
    const dir = mkdtempSync("/var/tmp/crib-cli-");
    try {
      writeFileSync(`${dir}/data`, "from the node\n");
      const argv = ["run", "--rm", "-v", `${dir}:/data:ro`, "-w", "/data", image];
      expect(await cribOk(...argv, "cat", "data")).toBe("from the node\n");
      expect((await crib(...argv, "touch", "new")).code).toBe(1);
      expect(existsSync(`${dir}/new`)).toBe(false);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("gives a name to one of those who want it at the same instant", async () => {
    const script = "echo mine; sleep 1000";
    const argv = ["run", "-d", "--name", "wanted", image, "sh", "-c", script];
    const runs = await Promise.all(Array.from({ length: 4 }, () => crib(...argv)));
    const [winner, ...others] = runs.toSorted((a, b) => a.code - b.code);
    expect(winner).toMatchObject({ code: 0, stderr: "" });
    for (const { code, stderr } of others) {
      expect(code).toBe(125);
      expect(stderr).toMatch(/^crib: the name "wanted" is taken by .*--name another\n$/);
    }
    expect(await cribOk("ps", "-q")).toBe(winner?.stdout ?? "");
    await eventually(async () => expect(await cribOk("logs", "wanted")).toBe("mine\n"));
    await cribOk("rm", "-f", "wanted");
    expect(await cribOk("pods", "-q")).toBe("");
  });

  test.each(["", "crun"])(
    "exits as docker does with 127, 126 or 125 where nothing ran (handler %p), and removes the pod",
    async (handler) => {
      const attempt = (...argv: readonly string[]) =>
        crib("run", "--rm", "--runtime", handler, ...argv);
      const missing = await attempt(image, "/no/such/program");
      expect(missing.stderr).toMatch(/^crib: .*\/no\/such\/program/);
      expect(missing.code).toBe(127);
      expect((await attempt(image, "no-such-program")).code).toBe(127);
      const directory = await attempt(image, "/etc");
      expect(directory).toMatchObject({ code: 126, stderr: expect.stringMatching(/^crib: .*/) });
      expect((await attempt("-v", "/etc/passwd:/data:ro", image, "/data")).code).toBe(126);
      expect((await attempt("--frob", image, "true")).code).toBe(125);
      expect((await attempt("no/such/image", "true")).code).toBe(125);
      expect(await cribOk("pods", "-q")).toBe("");
    },
  );
});

test("a container's whole life, by its name", async () => {
  const script = "echo up; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
  const id = (await cribOk("run", "-d", "--name", "web", image, "sh", "-c", script)).trim();
  expect(id).toMatch(/^[0-9a-f]{64}$/);
  expect(await cribOk("ps", "-q")).toBe(`${id}\n`);
  expect(await cribOk("ps")).toMatch(new RegExp(`${id.slice(0, 13)} +web +web +${image} +running`));

  expect(await crib("exec", "web", "sh", "-c", "echo in; echo err >&2; exit 3")).toEqual({
    stdout: "in\n",
    stderr: "err\n",
    code: 3,
  });
  await eventually(async () => expect(await cribOk("logs", "web")).toBe("up\n"));
  const { status } = JSON.parse(await cribOk("inspect", "web"));
  expect(status).toMatchObject({ id, state: "CONTAINER_RUNNING", metadata: { name: "web" } });
  const pod = JSON.parse(await cribOk("inspect", "--type", "pod", "web"));
  expect(pod.status.network.ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/);

  expect((await crib("rm", "web")).stderr).toContain("is running");
  expect(await cribOk("stop", "--container", "web")).toBe("web\n");
  expect(await cribOk("ps", "-q")).toBe("");
  expect(await cribOk("ps", "-aq")).toBe(`${id}\n`);
  const logs = await crib("logs", "-f", "web");
  expect(logs.stdout).toBe("up\n");
  expect(await cribOk("rm", "web")).toBe("web\n");
  expect(await cribOk("pods", "-q")).toBe("");
  expect((await crib("inspect", "web")).code).toBe(3);
});

test("stats show who uses the CPU, and within which limit", async () => {
  const burn = "while :; do :; done";
  await cribOk("run", "-d", "--name", "busy", "--memory", "64m", image, "sh", "-c", burn);
  await cribOk("run", "-d", "--name", "idle", image, "sleep", "3600");
  const lines = (await cribOk("stats", "--no-stream", "busy", "idle")).trim().split("\n");
  const [header, busy, idle] = lines.map((line) => line.trim().split(/ {2,}/));
  expect(header).toEqual(["NAME", "POD", "CPU %", "MEMORY", "LIMIT", "DISK", "PIDS", "IN", "OUT"]);
  expect(busy?.slice(0, 2)).toEqual(["busy", "busy"]);
  expect(Number(busy?.[2])).toBeGreaterThan(Number(idle?.[2]));
  expect([busy?.[4], idle?.[4]]).toEqual(["67 MB", "-"]);
  expect(busy?.[6]).toBe("1");
  const { stats } = JSON.parse(await cribOk("stats", "-o", "json", "busy"));
  expect(stats).toHaveLength(1);
  await cribOk("rm", "-f", "busy", "idle");
});

test("events tell a container's life, a line each", async () => {
  const child = command.start(["events"]);
  const reader = child.stdout.getReader();
  let text = "";
  const isOver = (async () => {
    while (!/stopped +container.*deleted +pod/s.test(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`it has ended with ${JSON.stringify(text)}`);
      text += Buffer.from(value).toString();
    }
  })();
  // Nobody says when it has begun to listen: maybe in the middle of the first one.
  for (let isSeen = false; !isSeen; ) {
    await crib("run", "--rm", "--name", "told", image, "sh", "-c", "exit 3");
    isSeen = await Promise.race([isOver.then(() => true), Bun.sleep(200).then(() => false)]);
  }
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(text).toMatch(
    /Z {2}stopped {2}container {2}[0-9a-f]{13} {2}told {2}default\/told {2}exit code 3\n/,
  );
  expect(text).toMatch(/Z {2}deleted {2}pod {8}[0-9a-f]{13} {2}told {2}default\/told\n/);
});

test("logs of a time and info, as scripts use them", async () => {
  await cribOk("run", "--name", "writer", image, "sh", "-c", "echo one; sleep 1.5; echo two");
  const last = (await cribOk("logs", "-t", "writer")).split("\n").at(-2) ?? "";
  const [time = ""] = last.split(" ");
  expect(await cribOk("logs", "--since", time.replace(/(\.\d{3})\d*/, "$1"), "writer")).toBe(
    "two\n",
  );
  expect(await cribOk("logs", "--since", "1h", "writer")).toBe("one\ntwo\n");
  expect((await crib("logs", "--previous", "writer")).code).toBe(3);
  expect(await cribOk("info")).toMatch(/^NetworkReady +yes/m);
  await cribOk("rm", "--all");
  expect(await cribOk("pods", "-q")).toBe("");
});

test("images, version and config", async () => {
  expect(await cribOk("images")).toContain(image);
  const list = JSON.parse(await cribOk("images", "-o", "json"));
  expect(list.images).toHaveLength(1);
  expect(await cribOk("version")).toMatch(/^daemon +crib /m);
  expect((await crib("rmi", "registry.invalid/none:1")).code).toBe(3);
  expect(await cribOk("config", "default")).toContain("[network]");
});
