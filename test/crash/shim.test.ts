import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon, processes } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers, shimNamespaceOf, shimSocketOf } from "../harness/leaks.ts";
import { demoImage } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

const shimmed = `[runtime]
default_handler = "shimmed"
[runtime.handlers.shimmed]
type = "shim"
path = ${JSON.stringify(parts.shims.runc)}
`;

let daemon: Daemon;
const dir = tempDir();
beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true, config: shimmed });
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

/** Of this daemon's pods. */
function shims(): readonly number[] {
  return processes()
    .filter(
      ({ argv }) =>
        argv[0] === parts.shims.runc && argv.some((one) => one.startsWith(daemon.state)),
    )
    .map(({ pid }) => pid);
}

const victims = ["shim", "daemon", "monitor", "all"] as const;

/** SIGKILL, once it is there to be killed or the call is over. */
async function killAll(victim: (typeof victims)[number], isOver: () => boolean): Promise<void> {
  if (victim !== "daemon") {
    const find = () => [
      ...(victim === "monitor" ? [] : shims()),
      ...(victim === "shim" ? [] : daemon.monitors()),
    ];
    for (;;) {
      const pids = find();
      for (const pid of pids) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It has ended by itself.
        }
      }
      if (pids.length > 0 || isOver()) break;
      await Bun.sleep(1);
    }
  }
  if (victim === "daemon" || victim === "all") await daemon.end("SIGKILL");
}

/** Where runc has the containers of this daemon's shims. */
function runtimeDirectory(): string {
  return `${daemon.state}/runtime/shimmed/${shimNamespaceOf(daemon.state)}`;
}

let pods = 0;

function life(ids: string[]) {
  const name = `pod-${pods++}`;
  const config = create(pb.PodSandboxConfigSchema, {
    metadata: { name, namespace: "test", uid: name },
    logDirectory: dir.path,
    linux: {},
  });
  const containerConfig = create(pb.ContainerConfigSchema, {
    metadata: { name: "main" },
    image: { image: demoImage },
    command: ["sh", "-c", "while :; do echo line; sleep 0.01; done"],
    logPath: `${name}.log`,
    linux: {},
  });
  const made = { podSandboxId: "", containerId: "" };
  const runtime = () => daemon.cri.runtime;
  const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
    [
      "RunPodSandbox",
      async () => {
        made.podSandboxId = (await runtime().runPodSandbox({ config })).podSandboxId;
        ids.push(made.podSandboxId);
      },
    ],
    [
      "CreateContainer",
      async () => {
        const { podSandboxId } = made;
        const request = { podSandboxId, config: containerConfig, sandboxConfig: config };
        made.containerId = (await runtime().createContainer(request)).containerId;
        ids.push(made.containerId);
      },
    ],
    ["StartContainer", () => runtime().startContainer(made)],
    ["ExecSync", () => runtime().execSync({ ...made, cmd: ["sleep", "0.1"], timeout: 5n })],
    ["ContainerStats", () => runtime().containerStats(made)],
    [
      "UpdateContainerResources",
      () => runtime().updateContainerResources({ ...made, linux: { cpuShares: 512n } }),
    ],
    ["StopContainer", () => runtime().stopContainer({ ...made, timeout: 0n })],
    ["RemoveContainer", () => runtime().removeContainer(made)],
    ["StopPodSandbox", () => runtime().stopPodSandbox(made)],
    ["RemovePodSandbox", () => runtime().removePodSandbox(made)],
  ];
  return { calls, made };
}

const count = life([]).calls.length;

for (const victim of victims) {
  test(`SIGKILL of ${victim} at each call of a pod's life: pods can be removed at the first call, nothing is left`, async () => {
    const { runtime } = daemon.cri;
    for (let at = 0; at < count; at++) {
      const ids: string[] = [];
      const { calls } = life(ids);
      for (const [i, [rpc, call]] of calls.slice(0, at + 1).entries()) {
        if (i < at) {
          await call();
          continue;
        }
        let isOver = false;
        const outcome = call().then(
          () => "ok",
          (err: unknown) => String(err),
        );
        void outcome.then(() => {
          isOver = true;
        });
        await killAll(victim, () => isOver);
        if (!daemon.isRunning) await daemon.start();
        // One that the daemon goes on with is over in time, and says in a line what has become of it.
        expect({ rpc, outcome: (await outcome).slice(0, 40) }).toEqual({
          rpc,
          outcome: expect.stringMatching(/^(ok|ConnectError: \[)/),
        });
      }
      const { items } = await runtime.listPodSandbox({});
      for (const { id: podSandboxId } of items) {
        ids.push(podSandboxId);
        await runtime.stopPodSandbox({ podSandboxId });
        await runtime.removePodSandbox({ podSandboxId });
      }
      await eventually(() => {
        expect(leftOvers(daemon, ids)).toEqual([]);
        expect(shims()).toEqual([]);
      });
    }
  });
}

test("the ledger of what is left sees a shim's socket, directory, state and process", async () => {
  const id = "f".repeat(64);
  const shared = `/run/containerd/s/${shimSocketOf(daemon.state, id)}`;
  mkdirSync("/run/containerd/s", { recursive: true });
  for (const [path, kind] of [
    [`${daemon.state}/shims/s/planted`, "socket of a shim"],
    [shared, "socket of a shim"],
    [`${daemon.state}/shims/${id}`, "directory of a shim"],
    [`${runtimeDirectory()}/planted`, "state runtime/shimmed"],
  ] as const) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "");
    expect(leftOvers(daemon, [id]).join("\n")).toContain(kind);
    rmSync(path);
  }
  const process = Bun.spawn(["sh", "-c", "sleep 1000; :", id]);
  expect(leftOvers(daemon, [id]).join("\n")).toContain("process ");
  process.kill("SIGKILL");
  await process.exited;
  await eventually(() => expect(leftOvers(daemon, [id])).toEqual([]));
});
