import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { Code } from "@connectrpc/connect";
import { connectCri } from "../harness/cri.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { grpcMessage } from "../harness/http2-frames.ts";
import { type Pod, runPod, startScript } from "../harness/pod.ts";
import { openCommand } from "../harness/streams/command-client.ts";
import { tempDir } from "../harness/temp-dir.ts";

/* Many at once, and clients that are wrong or idle: others are served, and the daemon stays small. */

const dir = tempDir("/var/tmp");
let daemon: Daemon;
let pod: Pod;
let container: string;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
  pod = await runPod(daemon.cri, dir.path);
  container = await startScript(daemon.cri, pod, "sleep 100000");
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

/** The lines of the daemon's log from now on. */
function newLines(): () => readonly Record<string, unknown>[] {
  const before = daemon.log.length;
  return () =>
    daemon.log
      .slice(before)
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The most memory that it ever had, from now on. */
function peakMegabytes(): () => number {
  const status = () => readFileSync(`/proc/${daemon.pid}/status`, "latin1");
  // proc_pid_clear_refs(5): resets the peak.
  Bun.spawnSync(["sh", "-c", `echo 5 > /proc/${daemon.pid}/clear_refs`]);
  return () => Number(/^VmHWM:\s*(\d+)/m.exec(status())?.[1]) / 1024;
}

/** Headers and trailers of the answer to a message that no client library would make. */
async function callByHand(path: string, message: Buffer): Promise<Record<string, unknown>> {
  const session = connectHttp2("http://localhost", {
    createConnection: () => connect(daemon.socket),
  });
  const answer: Record<string, unknown> = {};
  try {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    session.on("error", reject);
    const call = session.request({
      ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
    });
    call.on("response", (headers) => Object.assign(answer, headers));
    call.on("trailers", (headers) => Object.assign(answer, headers));
    call.on("error", () => {}); // what was not read of the request
    call.on("close", resolve);
    call.resume();
    call.end(grpcMessage(message));
    await promise;
  } finally {
    session.destroy();
  }
  return answer;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; left > 0; left = Math.floor(left / 128)) {
    bytes.push((left % 128) + (left > 127 ? 128 : 0));
  }
  return Buffer.from(bytes);
}

test("large requests in progress are bounded in sum", async () => {
  const text = "x".repeat(1 << 20);
  const annotations = Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`k${i}`, text]));
  const clients = Array.from({ length: 6 }, () => connectCri(daemon.socket));
  const peak = peakMegabytes();
  const flood = Array.from({ length: 60 }, (_, i) =>
    failure(
      clients[i % clients.length]?.runtime.runPodSandbox({ config: { annotations } }) as never,
    ),
  );
  await daemon.cri.runtime.execSync({ containerId: container, cmd: ["/bin/true"] });
  for (const { code } of await Promise.all(flood)) {
    expect([Code.InvalidArgument, Code.ResourceExhausted]).toContain(code);
  }
  // The bytes of the requests alone would be 840, and decoded they are there twice.
  expect(peak()).toBeLessThan(600);
});

test("hundreds of lists, also of clients that leave, are answered, and others in between", async () => {
  const clients = Array.from({ length: 20 }, () => connectCri(daemon.socket));
  const leaving = new AbortController();
  const left = clients.map(({ runtime }) =>
    failure(
      Promise.all(
        Array.from({ length: 20 }, () => runtime.listContainers({}, { signal: leaving.signal })),
      ),
    ),
  );
  let answered = 0;
  const stay = clients.flatMap(({ runtime }) =>
    Array.from({ length: 30 }, async () => {
      const { containers } = await runtime.listContainers({});
      answered++;
      return containers.length;
    }),
  );
  leaving.abort();
  const { exitCode } = await daemon.cri.runtime.execSync({
    containerId: container,
    cmd: ["/bin/true"],
  });
  expect(exitCode).toBe(0);
  expect(new Set(await Promise.all(stay)).size).toBe(1);
  expect(answered).toBe(600);
  for (const { code } of await Promise.all(left)) expect(code).toBe(Code.Canceled);
});

test("a request of millions of empty messages is refused before they are made", async () => {
  const peak = peakMegabytes();
  // PodSandboxConfig.port_mappings (6) of RunPodSandboxRequest.config (1), each of no bytes.
  const mappings = Buffer.alloc(10_000_000);
  for (let at = 0; at < mappings.length; at += 2) mappings[at] = (6 << 3) | 2;
  const message = Buffer.concat([Buffer.from([(1 << 3) | 2]), varint(mappings.length), mappings]);
  const answer = await callByHand("/runtime.v1.RuntimeService/RunPodSandbox", message);
  expect(answer["grpc-status"]).toBe(String(Code.ResourceExhausted));
  expect(decodeURIComponent(String(answer["grpc-message"]))).toContain("values in a request");
  // They would take over a thousand.
  expect(peak()).toBeLessThan(600);
  await daemon.cri.runtime.execSync({ containerId: container, cmd: ["/bin/true"] });
});

test("a client's mistakes are no errors, and do not fill the log", async () => {
  const lines = newLines();
  const calls = 600;
  for (let i = 0; i < calls; i += 4) {
    const { runtime } = daemon.cri;
    const codes = await Promise.all([
      failure(runtime.startContainer({ containerId: "0".repeat(64) })),
      failure(runtime.runPodSandbox({})),
      failure(runtime.createContainer({ podSandboxId: pod.id })),
      failure(runtime.startContainer({ containerId: container })),
    ]);
    expect(codes.map(({ code }) => code)).toEqual([
      Code.NotFound,
      Code.InvalidArgument,
      Code.InvalidArgument,
      Code.FailedPrecondition,
    ]);
  }
  const sum = () => {
    const failed = lines().filter(({ msg }) => msg === "call failed");
    return failed.reduce((total, { left_out }) => total + 1 + Number(left_out ?? 0), 0);
  };
  let extra = 0;
  // The next one that is logged says how many were not.
  await eventually(async () => {
    extra++;
    await failure(daemon.cri.runtime.startContainer({ containerId: "0".repeat(64) }));
    expect(sum()).toBe(calls + extra);
  });
  const failed = lines().filter(({ msg }) => msg === "call failed");
  expect(failed.some(({ left_out }) => Number(left_out) > 0)).toBe(true);
  expect(new Set(failed.map(({ level }) => level))).toEqual(new Set(["info"]));
});

for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
  test(`${signal} writes to the log what is in progress`, async () => {
    const lines = newLines();
    const leaving = new AbortController();
    const request = { containerId: container, cmd: ["/bin/sleep", "100000"] };
    const long = failure(daemon.cri.runtime.execSync(request, { signal: leaving.signal }));
    await eventually(() => {
      process.kill(daemon.pid, signal);
      const all = lines();
      const state = all.filter(({ msg }) => msg === "daemon state").at(-1);
      expect(state).toMatchObject({ signal, calls: 1, sandboxes: 1, monitored: 1 });
      expect(all.filter(({ msg }) => msg === "call in progress").at(-1)).toMatchObject({
        ...{ signal, rpc: "ExecSync", container },
        age_ms: expect.any(Number),
      });
    });
    leaving.abort();
    expect((await long).code).toBe(Code.Canceled);
    await eventually(() => {
      process.kill(daemon.pid, signal);
      const state = lines().filter(({ msg }) => msg === "daemon state");
      expect(state.at(-1)).toMatchObject({ calls: 0 });
    });
  });
}

test("SIGHUP, SIGUSR1 and SIGUSR2 end neither daemon nor monitors", async () => {
  const daemonPid = daemon.pid;
  const monitors = daemon.monitors();
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) {
    daemon.signalMonitors(signal);
    process.kill(daemonPid, signal);
  }
  // By a monitor, and there is no other than before.
  const other = await runPod(daemon.cri, dir.path);
  await startScript(daemon.cri, other, "sleep 100000");
  expect(daemon.monitors()).toEqual(monitors);
  expect(daemon.isRunning).toBe(true);
  await daemon.cri.runtime.removePodSandbox({ podSandboxId: other.id });
});

test("connections that say nothing keep nobody with a token out of the streaming server", async () => {
  const request = { containerId: container, cmd: ["/bin/echo", "in"], stdout: true };
  const { url } = await daemon.cri.runtime.exec(request);
  const { hostname, port } = new URL(url);
  const idle: Socket[] = [];
  // Not one of those that were told that their time was over.
  const madeRoom = ({ readyState, bytesRead }: Socket) => readyState === "closed" && !bytesRead;
  try {
    for (let i = 0; i < 2500; i++) {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      socket.write("GET /exec/");
      idle.push(socket);
    }
    await eventually(() => expect(idle.slice(0, 1000).some(madeRoom)).toBe(true));
    for (const transport of ["websocket", "spdy"] as const) {
      const answer = await daemon.cri.runtime.exec(request);
      using client = await openCommand(transport, answer.url, { stdout: true });
      expect((await client.status()).status).toBe("Success");
      expect(client.stdout.text).toBe("in\n");
    }
  } finally {
    for (const socket of idle) socket.destroy();
  }
});
