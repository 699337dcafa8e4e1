import { expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { CgroupDriver } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { runPod } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

test("what a kubelet asks before it trusts the node", async () => {
  await using daemon = await Daemon.start();
  const { runtime } = daemon.cri;
  expect(await runtime.version({ version: "0.1.0" })).toMatchObject({
    version: "0.1.0",
    runtimeName: "crib",
    runtimeVersion: expect.stringMatching(/^\d+\.\d+\.\d+/),
    runtimeApiVersion: "v1",
  });
  const { status, info, runtimeHandlers, features } = await runtime.status({ verbose: true });
  expect(status?.conditions.map(({ type, status: ok }) => [type, ok])).toEqual([
    ["RuntimeReady", true],
    ["NetworkReady", true],
  ]);
  expect(runtimeHandlers.map(({ name }) => name).sort()).toEqual(["", "crun", "runc"]);
  expect(features?.supplementalGroupsPolicy).toBe(true);
  expect(JSON.parse(info["config"] ?? "{}")).toMatchObject({
    sandboxImage: expect.stringContaining("/pause:"),
    stateDir: daemon.state,
  });
  const { linux } = await runtime.runtimeConfig({});
  expect(linux?.cgroupDriver).toBe(CgroupDriver.CGROUPFS);
});

test("NetworkReady is false until a network is configured, and no pod starts before", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ network: "none" });
  const { status } = await daemon.cri.runtime.status({});
  const network = status?.conditions.find(({ type }) => type === "NetworkReady");
  expect(network?.status).toBe(false);
  expect(network?.reason).not.toBe("");
  const failure = await runPod(daemon.cri, logs.path).catch(ConnectError.from);
  expect(failure).toBeInstanceOf(ConnectError);
  expect((await daemon.cri.runtime.listPodSandbox({})).items).toEqual([]);
});

test("the cluster's range for the node's pods is the embedded network's", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start();
  await daemon.cri.runtime.updateRuntimeConfig({
    runtimeConfig: { networkConfig: { podCidr: "10.203.7.0/24" } },
  });
  const { id } = await runPod(daemon.cri, logs.path);
  const { status } = await daemon.cri.runtime.podSandboxStatus({ podSandboxId: id });
  expect(status?.network?.ip).toMatch(/^10\.203\.7\.\d+$/);
});

test("what is not supported says so", async () => {
  await using daemon = await Daemon.start();
  const { runtime } = daemon.cri;
  for (const call of [() => runtime.checkpointPod({}), () => runtime.restorePod({})]) {
    const failure = await call().catch(ConnectError.from);
    expect(failure).toMatchObject({ code: Code.Unimplemented });
  }
  const request = { containerId: "0".repeat(64), location: "/tmp/checkpoint.tar" };
  const failure = await runtime.checkpointContainer(request).catch(ConnectError.from);
  expect(failure).toMatchObject({ code: Code.NotFound });
});
