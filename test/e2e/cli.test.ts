import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
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
  test("separates stdout from stderr, answers the exit code, and leaves nothing with --rm", async () => {
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

  test("answers 125 and removes the pod where the program is not there", async () => {
    const { stderr, code } = await crib("run", "--rm", image, "/no/such/program");
    expect(stderr).toMatch(/^crib: .*\/no\/such\/program/);
    expect(code).toBe(125);
    expect(await cribOk("pods", "-q")).toBe("");
  });
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
  expect(await cribOk("logs", "web")).toBe("up\n");
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

test("images, version and config", async () => {
  expect(await cribOk("images")).toContain(image);
  const list = JSON.parse(await cribOk("images", "-o", "json"));
  expect(list.images).toHaveLength(1);
  expect(await cribOk("version")).toMatch(/^daemon +crib /m);
  expect((await crib("rmi", "registry.invalid/none:1")).code).toBe(3);
  expect(await cribOk("config", "default")).toContain("[network]");
});
