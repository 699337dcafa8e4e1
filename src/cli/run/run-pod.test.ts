import { describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { testEnv } from "../../../test/harness/command-line.ts";
import { eventually } from "../../../test/harness/eventually.ts";
import { serveFakeCri } from "../../../test/harness/fake-cri.ts";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { openCriClient } from "../client.ts";
import { demoImage, makeDemoConfigs } from "../demo/pod.ts";
import { describeFailure } from "../failure.ts";
import { followPod, startPod } from "./run-pod.ts";

const time = "2026-01-01T00:00:00.000000001Z";

/** A node with one pod at most, which writes its calls down and logs like a container. */
async function serveNode(
  options: { readonly failStart?: boolean; readonly namespace?: string } = {},
) {
  const calls: string[] = [];
  let state: pb.ContainerState = pb.ContainerState.CONTAINER_CREATED;
  let exitCode = 0;
  const logPath = () => `${cri.dir}/logs/hello/0.log`;
  const call = (name: string) => {
    calls.push(name);
    return {};
  };
  const end = (code: number) => {
    exitCode = code;
    state = pb.ContainerState.CONTAINER_EXITED;
  };
  const cri = await serveFakeCri(
    {
      listPodSandbox: () => {
        const { namespace } = options;
        if (namespace === undefined) return { items: [] };
        return { items: [{ id: "f".repeat(64), metadata: { name: "demo", namespace } }] };
      },
      stopContainer: ({ timeout }) => {
        appendFileSync(logPath(), `${time} stderr F bye\n`);
        if (timeout === 0n) end(137);
        return call(`stop ${timeout}`);
      },
      stopPodSandbox: () => call("stop pod"),
      removePodSandbox: () => call("remove pod"),
      listContainers: () => ({ containers: [{ id: "c", state }] }),
      containerStatus: () => ({ status: { id: "c", logPath: logPath(), exitCode } }),
    },
    {
      imageStatus: () => ({}),
      pullImage: ({ image }) => ({ ...call(`pull ${image?.image}`), imageRef: "r" }),
    },
    {
      async *runPod() {
        call("run");
        mkdirSync(dirname(logPath()), { recursive: true });
        yield { podSandboxId: "p", containerId: "c" };
      },
      startPod: () => {
        call("start");
        if (options.failStart) throw new ConnectError("no such program", Code.Internal);
        state = pb.ContainerState.CONTAINER_RUNNING;
        appendFileSync(logPath(), `${time} stdout F hello\n`);
        return {};
      },
    },
  );
  const request = {
    configs: makeDemoConfigs(`${cri.dir}/logs`),
    runtimeHandler: "",
    pull: "missing",
    credentials: undefined,
    policy: { restart: {}, logLimits: {}, remove: false },
    detach: false,
    extras: {},
    cidFile: undefined,
    quiet: false,
  } as const;
  return { cri, calls, end, request };
}

describe("crib run", () => {
  test("pulls what is missing, prints the log and returns the exit code", async () => {
    const { cri, calls, end, request } = await serveNode();
    await using _cri = cri;
    using client = openCriClient(cri.endpoint);
    const { env, written } = testEnv();
    const started = await startPod(env, client, request);
    setTimeout(() => end(3), 30);
    expect(await followPod(env, client, started, { remove: true })).toBe(3);
    expect(written()).toEqual({ stdout: "hello\n", stderr: "" });
    expect(calls).toEqual([`pull ${demoImage}`, "run", "start", "stop pod", "remove pod"]);
  });

  test("stops the container on the first interrupt, kills it on the second", async () => {
    const { cri, calls, request } = await serveNode();
    await using _cri = cri;
    using client = openCriClient(cri.endpoint);
    const [interrupt, hurry] = [new AbortController(), new AbortController()];
    const { env, written } = testEnv({ interrupt: interrupt.signal, hurry: hurry.signal });
    const started = await startPod(env, client, request);
    const followed = followPod(env, client, started, { remove: false });
    await eventually(() => expect(written().stdout).toBe("hello\n"));
    interrupt.abort();
    await eventually(() => expect(calls).toContain("stop 10"));
    hurry.abort();
    expect(await followed).toBe(137);
    expect(calls.slice(3)).toEqual(["stop 10", "stop 0"]);
    expect(written().stderr).toBe("bye\nbye\n");
  });

  test("takes no name that a pod of the namespace has, and pulls nothing then", async () => {
    for (const namespace of ["default", "other"]) {
      const { cri, calls, request } = await serveNode({ namespace });
      await using _cri = cri;
      using client = openCriClient(cri.endpoint);
      const failure = await startPod(testEnv().env, client, request).catch((err: unknown) => err);
      if (namespace === "other") expect(calls).toContain("run");
      else {
        const taken = 'the name "demo" is taken by pod fffffffffffff: crib rm -f demo, or';
        expect(describeFailure(failure)).toBe(`${taken} --name another`);
        expect(calls).toEqual([]);
      }
    }
  });

  test("removes the pod when the container does not start", async () => {
    const { cri, calls, request } = await serveNode({ failStart: true });
    await using _cri = cri;
    using client = openCriClient(cri.endpoint);
    // Not `.rejects`: it waits inside the call, and the HTTP/2 streams of Bun do not live through that.
    const failure = await startPod(testEnv().env, client, request).catch((err: unknown) => err);
    expect(describeFailure(failure)).toBe("no such program");
    expect(calls.slice(-2)).toEqual(["stop pod", "remove pod"]);
  });
});
