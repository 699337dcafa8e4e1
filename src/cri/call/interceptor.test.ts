import { expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { failure, openClients } from "../../../test/harness/cri-clients.ts";
import { openDomain, sandbox, sandboxConfig } from "../../../test/harness/cri-domain.ts";
import { eventually } from "../../../test/harness/eventually.ts";
import { HealthCheckResponse_ServingStatus } from "../../gen/grpc/health/v1/health_pb.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, type ErrorKind, type ErrorReason } from "../../lib/errors.ts";
import { inStep } from "../../lib/step.ts";
import { statusCode } from "./status-code.ts";

const byName = { image: "registry.example/nginx:1" };

/** Clients of a domain whose pulls fail with `err`. */
function failing(err: unknown) {
  const domain = openDomain();
  domain.images.pull = () => Promise.reject(err);
  return openClients(domain);
}

for (const kind of Object.keys(statusCode) as ErrorKind[]) {
  test(`an error of kind ${kind} has its code, also below steps and failed clean-ups`, async () => {
    const cause = new AppError("inner", { kind });
    const step = new Error("outer", { cause });
    const status = await failure(failing(step).images.pullImage({ image: byName }));
    expect(status).toEqual({ code: statusCode[kind], message: "outer: inner" });
    const suppressed = new SuppressedError(new Error("clean-up"), step);
    const again = await failure(failing(suppressed).images.pullImage({ image: byName }));
    expect(again.code).toBe(statusCode[kind]);
  });
}

test("a bug is Internal and is logged with its stack", async () => {
  const { images, lines } = failing(new TypeError("x is not a function"));
  const status = await failure(images.pullImage({ image: byName }));
  expect(status).toEqual({ code: Code.Internal, message: "x is not a function" });
  const [line] = lines;
  expect(line).toMatchObject({ level: "error", rpc: "PullImage", code: "Internal" });
  expect(line?.["stack"]).toContain("interceptor.test.ts");
});

test("a client that is gone is no error, whatever became of its stream", async () => {
  const closed = new ConnectError("http/2 stream closed with error code NO_ERROR", Code.Internal);
  for (const err of [closed, new Error("stop container", { cause: closed })]) {
    const { images, lines } = failing(err);
    expect((await failure(images.pullImage({ image: byName }))).code).toBe(Code.Canceled);
    expect(lines[0]).toMatchObject({ level: "info", code: "Canceled" });
  }
});

const unknownReasons: ErrorReason[] = [
  "RegistryUnavailable",
  "SignatureValidationFailed",
  "ImageVolumeMountFailed",
];
for (const reason of unknownReasons) {
  test(`${reason} begins the message and has code UNKNOWN`, async () => {
    const cause = new AppError("dial", { kind: "unavailable", reason });
    const { images } = failing(new Error("pull image", { cause }));
    const status = await failure(images.pullImage({ image: byName }));
    expect(status).toEqual({ code: Code.Unknown, message: `${reason}: pull image: dial` });
  });
}

test("an error message is one line of bounded length", async () => {
  const err = new AppError(`a\nb\x1b[31m${"x".repeat(10_000)}`, { kind: "unavailable" });
  const { message } = await failure(failing(err).images.pullImage({ image: byName }));
  expect(message).toMatch(/^a b \[31mx+$/);
  expect(message.length).toBeLessThanOrEqual(4096);
});

test("until recovery is over, and after it stops, everything but health is Unavailable", async () => {
  const { runtime, images, health, readiness } = openClients(openDomain());
  const { NOT_SERVING, SERVING } = HealthCheckResponse_ServingStatus;
  readiness.set("recovering");
  const starting = await failure(runtime.version({}));
  expect(starting).toEqual({ code: Code.Unavailable, message: "crib is starting" });
  expect((await failure(images.listImages({}))).code).toBe(Code.Unavailable);
  expect((await health.check({})).status).toBe(NOT_SERVING);
  readiness.set("ready");
  await runtime.version({});
  expect((await health.check({ service: "runtime.v1.RuntimeService" })).status).toBe(SERVING);
  readiness.set("stopping");
  expect((await failure(runtime.version({}))).message).toBe("crib is shutting down");
});

test("Health.Check of another service is NotFound", async () => {
  const { health } = openClients(openDomain());
  expect((await failure(health.check({ service: "x" }))).code).toBe(Code.NotFound);
});

test("Health.Watch sends each change and ends when the daemon stops", async () => {
  const { health, readiness, lines } = openClients(openDomain());
  readiness.set("recovering");
  const seen: number[] = [];
  for await (const { status } of health.watch({})) {
    seen.push(status);
    if (seen.length === 1) readiness.set("ready");
    if (seen.length === 2) readiness.set("stopping");
  }
  expect(seen).toEqual([2, 1, 2]);
  expect(lines.at(-1)).toMatchObject({ msg: "call finished", rpc: "Watch" });
});

test("an error within a stream has its code too", async () => {
  const { health, readiness, lines } = openClients(openDomain());
  readiness.changedFrom = () => Promise.reject(new AppError("gone", { kind: "data-loss" }));
  const drain = async () => {
    for await (const _ of health.watch({})) {
      // The second one never comes.
    }
  };
  expect(await failure(drain())).toEqual({ code: Code.DataLoss, message: "gone" });
  expect(lines.at(-1)).toMatchObject({ level: "error", rpc: "Watch", err: "gone" });
});

test("a change is one info line with its subject, a read is debug, a race is no error", async () => {
  const domain = openDomain();
  const { runtime, lines } = openClients(domain);
  const config = sandboxConfig({ annotations: { secret: "s3cret" } });
  const { podSandboxId } = await runtime.runPodSandbox({ config });
  await runtime.listPodSandbox({});
  await failure(runtime.podSandboxStatus({ podSandboxId: "0".repeat(64) }));
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({
    level: "info",
    rpc: "RunPodSandbox",
    pod: "default/web",
    sandbox: podSandboxId,
  });
  expect(lines[0]?.["duration_ms"]).toBeNumber();
  expect(lines[1]).toMatchObject({ level: "debug", rpc: "ListPodSandbox" });
  expect(lines[2]).toMatchObject({ level: "debug", code: "NotFound" });
  expect(JSON.stringify(lines)).not.toContain("s3cret");
});

test("a pod's resize and a container's checkpoint are changes too", async () => {
  const { runtime, lines } = openClients(openDomain());
  await failure(runtime.updatePodSandboxResources({ podSandboxId: "0".repeat(64) }));
  await failure(runtime.checkpointContainer({ containerId: "0".repeat(64) }));
  expect(lines).toMatchObject([{ level: "info" }, { level: "info" }]);
});

test("a mistake of the client in a change is an info line, and of very many some are left out and counted", async () => {
  const { runtime, lines } = openClients(openDomain());
  for (let i = 0; i < 100; i++) await failure(runtime.runPodSandbox({}));
  expect(lines.length).toBeLessThan(100);
  for (const line of lines) expect(line).toMatchObject({ level: "info", code: "InvalidArgument" });
});

test("a call is in progress until it returns, fails, or nobody reads its stream any more", async () => {
  const { runtime, health, calls } = openClients(openDomain());
  const leaving = new AbortController();
  for await (const _ of health.watch({}, { signal: leaving.signal })) {
    expect(calls.list()).toMatchObject([{ rpc: "Watch", subject: {} }]);
    break;
  }
  leaving.abort();
  await runtime.version({});
  await failure(runtime.runPodSandbox({}));
  await eventually(() => expect(calls.list()).toEqual([]));
});

test("the context of a call ends with the client's deadline, which is then the status", async () => {
  const domain = openDomain();
  const pod = sandbox();
  domain.pods.set(pod.id, pod);
  let seen: Context | undefined;
  domain.sandboxes.stop = async (ctx) => {
    seen = ctx;
    const { promise, reject } = Promise.withResolvers<void>();
    ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
    await promise;
  };
  const { runtime, lines } = openClients(domain);
  const call = runtime.stopPodSandbox({ podSandboxId: pod.id }, { timeoutMs: 500 });
  expect((await failure(call)).code).toBe(Code.DeadlineExceeded);
  await eventually(() => expect(lines).toHaveLength(1));
  expect(seen?.signal.reason).toBeInstanceOf(ConnectError);
  expect(lines[0]).toMatchObject({
    rpc: "StopPodSandbox",
    sandbox: pod.id,
    code: "DeadlineExceeded",
  });
});

test("the steps of a call are seen with it, and without it once it is over", async () => {
  const domain = openDomain();
  const pod = sandbox();
  domain.pods.set(pod.id, pod);
  const finish = Promise.withResolvers<void>();
  const detach = Promise.withResolvers<void>();
  domain.sandboxes.stop = async (ctx) => {
    void inStep(ctx, "network.finish", () => finish.promise);
    await inStep(ctx, "network.detach", () => detach.promise, { network: "a" });
  };
  const { runtime, calls } = openClients(domain);
  const call = runtime.stopPodSandbox({ podSandboxId: pod.id });
  await eventually(() =>
    expect(calls.list()[0]?.steps).toMatchObject([
      { name: "network.finish", attributes: {} },
      { name: "network.detach", attributes: { network: "a" } },
    ]),
  );
  expect(calls.listBackground()).toEqual([]);
  detach.resolve();
  await call;
  expect(calls.listBackground()).toMatchObject([{ name: "network.finish" }]);
  finish.resolve();
  await eventually(() => expect(calls.listBackground()).toEqual([]));
});

test("what is not implemented says so, quietly", async () => {
  const { runtime, lines } = openClients(openDomain());
  const status = await failure(runtime.checkpointPod({}));
  expect(status.code).toBe(Code.Unimplemented);
  expect(lines[0]).toMatchObject({ level: "debug" });
});
