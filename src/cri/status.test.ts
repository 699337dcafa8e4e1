import { expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { failure, openClients } from "../../test/harness/cri-clients.ts";
import { openDomain } from "../../test/harness/cri-domain.ts";
import { CgroupDriver } from "../gen/runtime/v1/api_pb.ts";

function setUp(change: Partial<ReturnType<typeof openDomain>["node"]> = {}) {
  const domain = openDomain();
  return openClients({ ...domain, node: { ...domain.node, ...change } });
}

test("Version has the four texts that kubelets want", async () => {
  const { runtime } = setUp();
  expect(await runtime.version({ version: "v1" })).toMatchObject({
    version: "0.1.0",
    runtimeName: "crib",
    runtimeVersion: "0.1.0",
    runtimeApiVersion: "v1",
  });
});

test("Status has both conditions, the handlers with the default one under no name, and the features", async () => {
  const { runtime } = setUp();
  const response = await runtime.status({});
  const conditions = response.status?.conditions.map(({ $typeName: _, ...condition }) => condition);
  expect(conditions).toEqual([
    { type: "RuntimeReady", status: true, reason: "", message: "" },
    { type: "NetworkReady", status: false, reason: "NoNetwork", message: "no configuration" },
  ]);
  const handlers = response.runtimeHandlers.map(({ name, features }) => [
    name,
    features?.recursiveReadOnlyMounts,
    features?.userNamespaces,
  ]);
  expect(handlers).toEqual([
    ["", true, false],
    ["runc", true, false],
    ["crun", false, true],
  ]);
  expect(response.features?.supplementalGroupsPolicy).toBe(true);
  expect(response.features?.mountOptions).toBe(true);
  expect(response.info).toEqual({});
});

test("Status names the default handler once, also when the domain lists it under no name", async () => {
  const { handlers } = openDomain().node;
  const [runc] = handlers;
  if (runc === undefined) throw new Error("no handler");
  const { runtime } = setUp({ handlers: [{ ...runc, name: "" }, ...handlers] });
  const { runtimeHandlers } = await runtime.status({});
  expect(runtimeHandlers.map(({ name }) => name)).toEqual(["", "runc", "crun"]);
});

test("Status with verbose has config and versions in JSON", async () => {
  const { runtime } = setUp();
  const { info } = await runtime.status({ verbose: true });
  expect(JSON.parse(info["config"] ?? "")).toMatchObject({
    sandboxImage: "registry.k8s.io/pause:3.10.1",
    stateDir: "/run/crib",
  });
  expect(JSON.parse(info["versions"] ?? "")).toEqual({ crib: "0.1.0", runc: "1.5.0" });
});

test("RuntimeConfig returns the cgroup driver", async () => {
  const cgroupfs = await setUp().runtime.runtimeConfig({});
  expect(cgroupfs.linux?.cgroupDriver).toBe(CgroupDriver.CGROUPFS);
  const systemd = await setUp({ cgroupDriver: "systemd" }).runtime.runtimeConfig({});
  expect(systemd.linux?.cgroupDriver).toBe(CgroupDriver.SYSTEMD);
});

test("UpdateRuntimeConfig takes one or two CIDRs, or none", async () => {
  const seen: string[] = [];
  const { runtime } = setUp({
    setPodCidr(_ctx, podCidr) {
      seen.push(podCidr);
      return Promise.resolve();
    },
  });
  const update = (podCidr: string) =>
    runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr } } });
  await update("10.1.0.0/24");
  await update("10.1.0.0/24,fd00::/64");
  await update("");
  await runtime.updateRuntimeConfig({});
  expect(seen).toEqual(["10.1.0.0/24", "10.1.0.0/24,fd00::/64"]);
  for (const bad of [
    "10.1.0.0",
    "10.1.0.0/33",
    "x/1",
    "10.0.0.0/8/8",
    "1.1.1.0/24,1.1.2.0/24,1.1.3.0/24",
  ]) {
    expect((await failure(update(bad))).code).toBe(Code.InvalidArgument);
  }
});
