import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  ContainerConfigSchema,
  ContainerState,
  NamespaceMode,
} from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { leftOvers } from "../harness/leaks.ts";
import { createScript, demoImage, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** A monitor that is stopped is replaced after six missed beats and a bit. */
const patienceMs = 300_000;

async function exitCodeOf(daemon: Daemon, id: string): Promise<number> {
  return await eventually(async () => {
    const { state, exitCode } = await statusOf(daemon.cri, id);
    if (state !== ContainerState.CONTAINER_EXITED) throw new Error("it runs");
    return exitCode;
  }, patienceMs);
}

test("a monitor that is stopped (SIGSTOP) is replaced: creations are refused, ends are told, nothing is lost", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri } = daemon;
  const pod = await runPod(cri, dir.path);
  const created = await createScript(cri, pod, "echo hello; exit 7");
  const ending = await startScript(cri, pod, "sleep 1; echo bye; exit 5");
  const running = await startScript(cri, pod, "trap 'exit 3' TERM; while :; do sleep 0.1; done");

  daemon.signalMonitors("SIGSTOP");
  const creating = failure(createScript(cri, pod, "exit 0"));
  await cri.runtime.startContainer({ containerId: created });
  const { exitCode } = await cri.runtime.execSync({ containerId: running, cmd: ["true"] });
  expect(exitCode).toBe(0);
  expect((await creating).code).toBe(Code.Unavailable);
  expect(await exitCodeOf(daemon, created)).toBe(7);
  expect(await exitCodeOf(daemon, ending)).toBe(5);
  expect(readLog((await statusOf(cri, created)).logPath)).toBe("hello\n");
  expect(readLog((await statusOf(cri, ending)).logPath)).toBe("bye\n");
  // A kubelet comes again.
  expect(await exitCodeOf(daemon, await startScript(cri, pod, "exit 9"))).toBe(9);
  await cri.runtime.stopContainer({ containerId: running, timeout: 120n });
  expect((await statusOf(cri, running)).exitCode).toBe(3);

  // The next daemon finds one that does not say hello.
  const last = await startScript(cri, pod, "sleep 2; exit 6");
  daemon.signalMonitors("SIGSTOP");
  await daemon.end("SIGKILL");
  await daemon.start();
  expect(await exitCodeOf(daemon, last)).toBe(6);
  await cri.runtime.removePodSandbox({ podSandboxId: pod.id });
  const ids = [pod.id, created, ending, running, last];
  await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
});

test("a daemon that is stopped for a while goes on where it was, and its monitor is left alone", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri } = daemon;
  const pod = await runPod(cri, dir.path);
  const ending = await startScript(cri, pod, "sleep 1; echo bye; exit 5");
  const monitors = daemon.monitors();
  process.kill(daemon.pid, "SIGSTOP");
  // As a kubelet: its time is over, it comes again, and is answered with what has become of it.
  const config = { ...pod.config, metadata: { ...pod.config.metadata, name: "late" } };
  const impatient = await failure(
    cri.runtime.runPodSandbox({ config: config as typeof pod.config }, { timeoutMs: 1000 }),
  );
  expect(impatient.code).toBe(Code.DeadlineExceeded);
  await Bun.sleep(31_000); // more than six beats
  process.kill(daemon.pid, "SIGCONT");
  expect(await exitCodeOf(daemon, ending)).toBe(5);
  expect(readLog((await statusOf(cri, ending)).logPath)).toBe("bye\n");
  // Joined while it is made, and answered once more when it is there.
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config: config as typeof pod.config });
  const { items } = await cri.runtime.listPodSandbox({});
  const late = items.filter(({ metadata }) => metadata?.name === "late");
  expect(late.map(({ id }) => id)).toEqual([podSandboxId]);
  await Bun.sleep(5500); // one more
  expect(daemon.monitors()).toEqual(monitors);
});

test("a caller that repeats the creation of a container that took too long gets that container", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, dir.path);
  await createScript(daemon.cri, pod, "exit 0");
  const requestOf = (name: string, program: string) => ({
    podSandboxId: pod.id,
    config: create(ContainerConfigSchema, {
      metadata: { name, attempt: 0 },
      image: { image: demoImage },
      command: [program],
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
    }),
    sandboxConfig: pod.config,
  });
  const request = requestOf("late", "true");
  const listed = async () => {
    const { containers } = await runtime.listContainers({});
    return containers.filter(({ metadata }) => metadata?.name === "late").map(({ id }) => id);
  };
  /** Asks for it, and leaves when it has been begun. */
  const leave = async (
    wanted: typeof request,
    meanwhile: () => Promise<unknown> = async () => {},
  ) => {
    daemon.signalMonitors("SIGSTOP");
    const made = readdirSync(`${daemon.state}/containers`).length;
    const leaving = new AbortController();
    const impatient = failure(runtime.createContainer(wanted, { signal: leaving.signal }));
    await eventually(() => {
      if (readdirSync(`${daemon.state}/containers`).length === made) throw new Error("not begun");
    });
    leaving.abort();
    expect((await impatient).code).toBe(Code.Canceled);
    await meanwhile();
    daemon.signalMonitors("SIGCONT");
  };
  await leave(request);
  await eventually(async () => expect(await listed()).toHaveLength(1));
  const { containerId } = await runtime.createContainer(request);
  expect(await listed()).toEqual([containerId]);
  // It has been told: whoever comes now means another one.
  expect((await failure(runtime.createContainer(request))).code).toBe(Code.AlreadyExists);

  // A failure that is nobody's any more is told by the log.
  let stopping: Promise<unknown> | undefined;
  await leave(requestOf("wrong", "true"), async () => {
    stopping = runtime.stopPodSandbox({ podSandboxId: pod.id });
    await runtime.version({}); // by its answer the daemon has begun with the call before
  });
  const line = await eventually(() => {
    const found = daemon.log.split("\n").find((one) => one.includes("abandoned operation failed"));
    if (found === undefined) throw new Error(`it is not told:\n${daemon.log}`);
    return JSON.parse(found);
  });
  expect(line).toMatchObject({ level: "warn", rpc: "CreateContainer", sandbox: pod.id });
  expect(line).toMatchObject({ name: "wrong", err: expect.stringContaining("was stopped") });
  await stopping;
});
