/** What a kubelet does for its pods, done by the daemon for those of `crib run`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
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
const sh = (script: string) => [image, "sh", "-c", script];
const patient = "trap 'exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done";

async function restartDaemon(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  await daemon.end(signal);
  await daemon.start();
}

/** All that a pod of `crib run` could leave. */
async function expectNothingLeft(): Promise<void> {
  await eventually(async () => expect(await cribOk("pods", "-q")).toBe(""), 120_000);
  expect(await cribOk("ps", "-aq")).toBe("");
  expect(readdirSync(`${daemon.root}/standalone`)).toEqual([]);
}

async function logDirectoryOf(name: string): Promise<string> {
  const { status } = JSON.parse(await cribOk("inspect", name));
  return status.logPath.replace(/\/[^/]+\/[^/]+$/, "");
}

async function stateOf(name: string) {
  const { status } = JSON.parse(await cribOk("inspect", name));
  return status as { id: string; state: string; exitCode?: number; logPath: string };
}

describe("--rm", () => {
  test("the reader of the output goes away", async () => {
    const script = `crib run --rm --name piped ${image} yes | head -1`;
    await using typed = command.typeInto(script);
    expect(await typed.exited).toBe(0);
    await expectNothingLeft();
  });

  for (const signal of ["SIGKILL", "SIGHUP"] as const) {
    test(`the command ends by ${signal}`, async () => {
      const child = command.start(["run", "--rm", "--name", "deserted", ...sh(patient)]);
      expect((await child.stdout.getReader().read()).value).toBeDefined();
      const logs = await logDirectoryOf("deserted");
      child.kill(signal);
      await child.exited;
      await expectNothingLeft();
      expect(existsSync(logs)).toBe(false);
    });
  }

  test("the command's terminal goes away", async () => {
    const script = `crib run --rm -it --name hung ${image} sh -c "echo up; exec sleep 1000"`;
    {
      await using typed = command.typeInto(script);
      await typed.screen.until("up");
    }
    await expectNothingLeft();
  });

  test("the daemon is killed meanwhile: the command stays, the pod goes at its end", async () => {
    const script = "echo up; while [ ! -e /tmp/end ]; do sleep 0.1; done; echo over; exit 4";
    const child = command.start(["run", "--rm", "--name", "lasting", ...sh(script)]);
    const reader = child.stdout.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("up\n");
    await restartDaemon("SIGKILL");
    await restartDaemon("SIGTERM");
    await cribOk("exec", "lasting", "touch", "/tmp/end");
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("over\n");
    expect(await child.exited).toBe(4);
    await expectNothingLeft();
  });

  test("command and daemon are both killed: the pod goes when it ends", async () => {
    const child = command.start(["run", "--rm", "--name", "orphan", ...sh("echo up; sleep 1000")]);
    expect((await child.stdout.getReader().read()).value).toBeDefined();
    await daemon.end("SIGKILL");
    child.kill("SIGKILL");
    await child.exited;
    await daemon.start();
    await expectNothingLeft();
  }, 180_000);

  test("detached, it goes when it ends", async () => {
    await cribOk("run", "-d", "--rm", "--name", "brief", ...sh("sleep 0.1"));
    await expectNothingLeft();
    await cribOk("run", "-d", "--rm", "--name", "stopped", ...sh(patient));
    await cribOk("stop", "--container", "stopped");
    await expectNothingLeft();
  });

  test("left with ctrl-p ctrl-q it goes on, and goes at its end", async () => {
    const script = `crib run --rm -it --name left ${image} sh -c "echo up; exec sleep 1000"`;
    await using typed = command.typeInto(script);
    await typed.screen.until("up");
    typed.type("\x10\x11");
    expect(await typed.exited).toBe(0);
    expect((await stateOf("left")).state).toBe("CONTAINER_RUNNING");
    await cribOk("stop", "-t", "0", "--container", "left");
    await expectNothingLeft();
  });
});

describe("restart policies", () => {
  const counting = "echo run >>/runs; wc -l </runs";

  test("no: what has ended stays down", async () => {
    await cribOk("run", "-d", "--name", "once", ...sh(`${counting}; exit 1`));
    await eventually(async () => expect((await stateOf("once")).exitCode).toBe(1));
    await restartDaemon("SIGKILL");
    expect(await cribOk("logs", "once")).toBe("1\n");
    await cribOk("rm", "once");
  });

  test("on-failure:2 tries twice more, with the same id, files and log", async () => {
    const id = await cribOk(
      ...["run", "-d", "--name", "failing", "--restart", "on-failure:2"],
      ...sh(`${counting}; exit 3`),
    );
    await eventually(async () => expect(await cribOk("logs", "failing")).toBe("1\n2\n3\n"));
    await eventually(async () => expect((await stateOf("failing")).exitCode).toBe(3));
    expect(`${(await stateOf("failing")).id}\n`).toBe(id);
    await cribOk("start", "failing");
    await eventually(async () =>
      expect(await cribOk("logs", "failing")).toBe("1\n2\n3\n4\n5\n6\n"),
    );
    await cribOk("rm", "-f", "failing");
  });

  test("on-failure leaves what has succeeded", async () => {
    await cribOk("run", "-d", "--name", "done", "--restart", "on-failure", ...sh(counting));
    await eventually(async () => expect((await stateOf("done")).state).toBe("CONTAINER_EXITED"));
    await restartDaemon("SIGKILL");
    expect(await cribOk("logs", "done")).toBe("1\n");
    await cribOk("rm", "done");
  });

  test("always: after each end, not after a stop, but after the next start of the daemon", async () => {
    const script = `${counting}; ${patient}`;
    await cribOk("run", "-d", "--name", "steady", "--restart", "always", ...sh(script));
    await eventually(async () => expect(await cribOk("logs", "steady")).toBe("1\nup\n"));
    await crib("exec", "steady", "kill", "-TERM", "1");
    await eventually(async () => expect(await cribOk("logs", "steady")).toContain("2\nup\n"));
    await cribOk("stop", "steady");
    expect((await stateOf("steady")).state).toBe("CONTAINER_EXITED");
    await restartDaemon("SIGKILL");
    await eventually(async () => expect((await stateOf("steady")).state).toBe("CONTAINER_RUNNING"));
    await eventually(async () => expect(await cribOk("logs", "steady")).toContain("3\nup\n"));
    await cribOk("rm", "-f", "steady");
  });

  test("unless-stopped: what a user has stopped stays down until it is started", async () => {
    const argv = ["run", "-d", "--name", "quiet", "--restart", "unless-stopped", "-p", "18231:80"];
    await cribOk(...argv, ...sh(patient));
    await eventually(async () => expect(await cribOk("logs", "quiet")).toBe("up\n"));
    await cribOk("stop", "quiet");
    await restartDaemon("SIGTERM");
    expect((await stateOf("quiet")).state).toBe("CONTAINER_EXITED");
    await cribOk("start", "quiet");
    expect((await stateOf("quiet")).state).toBe("CONTAINER_RUNNING");
    const { status } = JSON.parse(await cribOk("inspect", "--type", "pod", "quiet"));
    expect(status.network.ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect((await crib("run", "--rm", "-p", "18231:80", image, "true")).stderr).toContain(
      "port 18231/tcp is taken by pod quiet",
    );
    await cribOk("rm", "-f", "quiet");
  });

  test("an end while no daemon runs is made good by the next one", async () => {
    const script = `${counting}; while [ ! -e /end ]; do sleep 0.1; done; rm /end; exit 9`;
    await cribOk("run", "-d", "--name", "unseen", "--restart", "on-failure", ...sh(script));
    await eventually(async () => expect(await cribOk("logs", "unseen")).toBe("1\n"));
    const { id } = await stateOf("unseen");
    const end = `${daemon.state}/containers/${id}/rootfs/end`;
    await daemon.end("SIGKILL");
    await Bun.write(end, "");
    await eventually(() => expect(existsSync(end)).toBe(false));
    await daemon.start();
    await eventually(async () => expect(await cribOk("logs", "unseen")).toBe("1\n2\n"));
    await cribOk("rm", "-f", "unseen");
  });

  test("a new boot makes sandbox, network and process again, and keeps the files", async () => {
    const argv = ["run", "-d", "--name", "rebooted", "--restart", "always", "-p", "18232:80"];
    await cribOk(...argv, ...sh(`${counting}; ${patient}`));
    await cribOk("run", "-d", "--name", "plain", ...sh(patient));
    await eventually(async () => expect(await cribOk("logs", "rebooted")).toBe("1\nup\n"));
    const { id } = await stateOf("rebooted");
    await daemon.reboot();
    await eventually(async () => {
      const logs = await cribOk("logs", "rebooted");
      if (logs !== "1\nup\n2\nup\n") throw new Error(`${logs}:\n${daemon.log.slice(-2000)}`);
    });
    expect(await stateOf("rebooted")).toMatchObject({ id, state: "CONTAINER_RUNNING" });
    expect((await stateOf("plain")).state).toBe("CONTAINER_EXITED");
    const { status } = JSON.parse(await cribOk("inspect", "--type", "pod", "rebooted"));
    expect(status.network.ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    await cribOk("start", "plain");
    expect((await stateOf("plain")).state).toBe("CONTAINER_RUNNING");
    await cribOk("rm", "-f", "rebooted", "plain");
  });

  test("restart: what runs and what has ended", async () => {
    await cribOk("run", "-d", "--name", "again", ...sh(`${counting}; ${patient}`));
    await eventually(async () => expect(await cribOk("logs", "again")).toBe("1\nup\n"));
    await cribOk("restart", "again");
    await eventually(async () => expect(await cribOk("logs", "again")).toBe("1\nup\n2\nup\n"));
    await cribOk("stop", "again");
    await cribOk("restart", "again");
    await eventually(async () => expect(await cribOk("logs", "again")).toContain("3\nup\n"));
    await cribOk("rm", "-f", "again");
    await expectNothingLeft();
  });

  test("pods of others are never started, whatever they say", async () => {
    const { podSandboxId } = await daemon.cri.runtime.runPodSandbox({
      config: {
        metadata: { name: "foreign", namespace: "default", uid: "u", attempt: 0 },
        annotations: { "crib.local/restart": "always" },
        labels: { "crib.local/run": crypto.randomUUID() },
      },
    });
    const { code, stderr } = await crib("start", "foreign");
    expect(code).toBe(1);
    expect(stderr).toContain("not made by `crib run`");
    await daemon.cri.runtime.removePodSandbox({ podSandboxId });
  });
});

describe("logs", () => {
  test("are rotated by size and count, and none of what is kept is lost", async () => {
    const count = 200_000;
    const argv = ["run", "-d", "--name", "talker", "--log-opt", "max-size=1m"];
    await cribOk(...argv, "--log-opt", "max-file=3", image, "seq", "1", String(count));
    await eventually(async () => expect((await stateOf("talker")).state).toBe("CONTAINER_EXITED"));
    const { logPath } = await stateOf("talker");
    const files = [`${logPath}.2`, `${logPath}.1`, logPath];
    expect(readdirSync(logPath.replace(/\/[^/]+$/, "")).length).toBe(3);
    for (const file of files) expect(statSync(file).size).toBeLessThan(3 * 1024 * 1024);
    const kept = files.flatMap((file) => readFileSync(file, "utf8").split("\n").slice(0, -1));
    // The oldest line may have begun in a file that is gone.
    const numbers = kept.slice(1).map((line) => Number(line.split(" ").at(-1)));
    expect(numbers.at(-1)).toBe(count);
    expect(numbers).toEqual(Array.from(numbers, (_, i) => count - numbers.length + 1 + i));
    expect((await cribOk("logs", "talker")).endsWith(`\n${numbers.join("\n")}\n`)).toBe(true);
    const tail = Array.from({ length: 30_000 }, (_, i) => `${count - 29_999 + i}\n`).join("");
    expect(await cribOk("logs", "--tail", "30000", "talker")).toBe(tail);
    const usage = JSON.parse(await cribOk("df", "-o", "json"));
    const sizes = files.reduce((sum, file) => sum + statSync(file).blocks * 512, 0);
    expect(Number(usage.logs.usedBytes)).toBe(sizes);
    await cribOk("rm", "talker");
  });

  test("have a limit that nobody asked for", async () => {
    const argv = ["run", "-d", "--name", "flood", image, "sh", "-c", "yes | head -c 40000000"];
    await cribOk(...argv);
    const logs = await logDirectoryOf("flood");
    await eventually(
      async () => expect((await stateOf("flood")).state).toBe("CONTAINER_EXITED"),
      120_000,
    );
    const sizes = readdirSync(`${logs}/flood`).map(
      (name) => statSync(`${logs}/flood/${name}`).size,
    );
    expect(sizes.length).toBe(5);
    for (const size of sizes) expect(size).toBeLessThan(13 * 1024 * 1024);
    await cribOk("rm", "flood");
  });
});

describe("ports that are taken", () => {
  test("by another pod", async () => {
    await cribOk("run", "-d", "--name", "first", "-p", "18233:80", ...sh(patient));
    for (const port of ["18233:81", "127.0.0.1:18233:80", "[::1]:18233:80"]) {
      const { code, stderr } = await crib(
        "run",
        "-d",
        "--name",
        "second",
        "-p",
        port,
        ...sh("true"),
      );
      expect(stderr).toMatch(/^crib: port 18233\/tcp.* is taken by pod first\n$/);
      expect(code).toBe(125);
    }
    expect((await crib("run", "--rm", "-p", "18233:80/udp", ...sh("true"))).code).toBe(0);
    await cribOk("rm", "-f", "first");
    expect((await crib("run", "--rm", "-p", "18233:80", ...sh("true"))).code).toBe(0);
    await expectNothingLeft();
  });

  test("by a process of the node", async () => {
    using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { code, stderr } = await crib("run", "-d", "-p", `${server.port}:80`, ...sh("true"));
    expect(stderr).toMatch(
      new RegExp(
        `^crib: port ${server.port}/tcp is taken by process \\S+ \\(pid ${process.pid}\\)`,
      ),
    );
    expect(code).toBe(125);
    await expectNothingLeft();
  });

  test("of those who want one at the same instant, one has it", async () => {
    const names = ["one", "two", "three"];
    const runs = await Promise.all(
      names.map((name) => crib("run", "-d", "--name", name, "-p", "18234:80", ...sh(patient))),
    );
    expect(runs.map(({ code }) => code).sort()).toEqual([0, 125, 125]);
    await cribOk("rm", "-f", ...names);
    await expectNothingLeft();
  });
});

test("a kill of the daemon at any moment of a run leaves a whole pod or nothing", async () => {
  for (let i = 0; i < 6; i++) {
    const child = command.start([
      "run",
      "-d",
      "--name",
      `cut-${i}`,
      "--restart",
      "always",
      ...sh(patient),
    ]);
    await Bun.sleep(i * 40);
    await restartDaemon("SIGKILL");
    const code = await child.exited;
    await eventually(async () => {
      const found = await crib("inspect", `cut-${i}`);
      if (code === 0) expect(JSON.parse(found.stdout).status.state).toBe("CONTAINER_RUNNING");
      else if (found.code === 0)
        expect(JSON.parse(found.stdout).status.state).toBe("CONTAINER_RUNNING");
      else expect(await cribOk("pods", "-q")).toBe("");
    });
    await cribOk("rm", "-f", `cut-${i}`);
    await expectNothingLeft();
  }
});
