import { expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { ContainerState, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { payloadDir } from "../harness/payload.ts";
import { createScript, type Pod, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** runc, but for one command, which does what the file `mode` says. */
const program = (dir: string) => `#!/bin/sh
for word in "$@"; do
  case $word in create|start|delete|state|features) step=$word; break;; esac
done
case $(cat ${dir}/mode) in
  "$step hang") sleep 1000;; # not exec: what hangs is found by its arguments
  "$step nothing") exit 0;;
  "$step garbage") echo "no json { at all"; echo "{" >&2; exit 7;;
  "$step after") ${payloadDir()}/runc "$@"; exit 1;;
esac
exec ${payloadDir()}/runc "$@"
`;

class BadRuntime implements AsyncDisposable {
  readonly ids: string[] = [];
  readonly daemon: Daemon;
  readonly #dir: ReturnType<typeof tempDir>;
  readonly #other: Pod;

  private constructor(daemon: Daemon, dir: ReturnType<typeof tempDir>, other: Pod) {
    this.daemon = daemon;
    this.#dir = dir;
    this.#other = other;
  }

  static async start(): Promise<BadRuntime> {
    const dir = tempDir();
    const path = `${dir.path}/bad`;
    writeFileSync(path, program(dir.path));
    chmodSync(path, 0o755);
    writeFileSync(`${dir.path}/mode`, "");
    const config = `[runtime.handlers.bad]\npath = ${JSON.stringify(path)}\n`;
    const daemon = await Daemon.start({ demoImage: true, config });
    return new BadRuntime(daemon, dir, await runPod(daemon.cri, dir.path));
  }

  mode(mode: string): void {
    writeFileSync(`${this.#dir.path}/mode`, mode);
  }

  async pod(shared = false): Promise<Pod> {
    const { cri } = this.daemon;
    const config = {
      metadata: { name: "bad", namespace: "test", uid: crypto.randomUUID(), attempt: 0 },
      logDirectory: this.#dir.path,
      linux: {
        securityContext: {
          namespaceOptions: { pid: shared ? NamespaceMode.POD : NamespaceMode.CONTAINER },
        },
      },
    };
    const { podSandboxId: id } = await cri.runtime.runPodSandbox({
      config,
      runtimeHandler: "bad",
    });
    this.ids.push(id);
    return { id, config: config as unknown as Pod["config"] };
  }

  /** Another pod is served while something hangs. */
  async expectService(): Promise<void> {
    const id = await startScript(this.daemon.cri, this.#other, "exit 0");
    await eventually(async () =>
      expect((await statusOf(this.daemon.cri, id)).state).toBe(ContainerState.CONTAINER_EXITED),
    );
    await this.daemon.cri.runtime.removeContainer({ containerId: id });
  }

  async remove({ id }: Pod): Promise<void> {
    // A kubelet gives each call two minutes.
    const timeoutMs = 120_000;
    await this.daemon.cri.runtime.stopPodSandbox({ podSandboxId: id }, { timeoutMs });
    await this.daemon.cri.runtime.removePodSandbox({ podSandboxId: id }, { timeoutMs });
    await eventually(() => {
      const left = leftOvers(this.daemon, this.ids).filter((one) => !one.includes(this.#other.id));
      expect(
        left.filter((one) => !/^(mount: |network record)/.test(one) || one.includes(id)),
      ).toEqual([]);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mode("");
    await this.daemon[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (err) {
    return ConnectError.from(err);
  }
  throw new Error("the call has succeeded");
}

test("an OCI runtime that hangs or lies in create costs its own pods only, and leaves nothing", async () => {
  await using node = await BadRuntime.start();
  const { cri } = node.daemon;
  for (const mode of ["nothing", "garbage", "after"]) {
    node.mode(`create ${mode}`);
    for (const shared of [false, true]) {
      const pod = await node.pod(shared);
      const config = shared ? { linux: { resources: {}, securityContext: {} } } : {};
      const err = await failure(createScript(cri, pod, "sleep 1000", config));
      expect([mode, err.code]).toEqual([mode, Code.Internal]);
      await node.remove(pod);
    }
  }
  node.mode("create hang");
  for (const shared of [false, true]) {
    const pod = await node.pod(shared);
    const config = shared ? { linux: { resources: {}, securityContext: {} } } : {};
    const creating = failure(createScript(cri, pod, "sleep 1000", config));
    await Bun.sleep(500);
    await node.expectService();
    await node.remove(pod);
    expect((await creating).code).toBe(Code.FailedPrecondition);
  }
});

test("an OCI runtime that hangs in start or delete does not keep a pod", async () => {
  await using node = await BadRuntime.start();
  const { cri } = node.daemon;
  for (const mode of ["start hang", "start after", "start garbage", "start nothing"]) {
    node.mode(mode);
    const pod = await node.pod();
    const containerId = await createScript(cri, pod, "sleep 1000");
    const starting = cri.runtime.startContainer({ containerId }).catch(() => {});
    await Bun.sleep(300);
    await node.expectService();
    await node.remove(pod);
    await starting;
  }
  for (const mode of ["delete nothing", "delete garbage", "delete hang"]) {
    node.mode("");
    const pod = await node.pod();
    await startScript(cri, pod, "sleep 1000");
    node.mode(mode);
    await node.remove(pod);
  }
});
