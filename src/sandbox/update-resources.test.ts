import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { readCgroupHost } from "../cgroup/host.ts";
import { readSpecHost } from "../container/spec/host.ts";
import { LinuxContainerResourcesSchema, PodSandboxConfigSchema } from "../gen/runtime/v1/api_pb.ts";
import { kindOf } from "../lib/errors.ts";
import { generateSandboxId, type SandboxId } from "../lib/id.ts";
import { KeyedMutex } from "../lib/keyed-mutex.ts";
import { silentLog } from "../lib/log.ts";
import { Table } from "../state/table.ts";
import { noPlugins } from "./plugins.ts";
import type { Sandbox } from "./sandbox.ts";
import { updateSandboxResources } from "./update-resources.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };
const resources = (memoryLimitInBytes: bigint) =>
  create(LinuxContainerResourcesSchema, { memoryLimitInBytes });

function setUp(init: Partial<Sandbox> = {}) {
  const sandbox: Sandbox = {
    id: generateSandboxId(),
    config: create(PodSandboxConfigSchema, {}),
    handler: "",
    createdAtNs: 1n,
    bootId: "boot",
    state: "ready",
    ips: [],
    networkAttached: false,
    infra: undefined,
    ...init,
  };
  const rows = { put: () => {}, delete: () => {}, whenWritten: (apply: () => void) => apply() };
  const sandboxes = new Table<SandboxId, Sandbox>("sandbox", rows, [sandbox]);
  const deps = {
    sandboxes,
    sandboxLocks: new KeyedMutex<SandboxId>(),
    host: readSpecHost(readCgroupHost()),
    plugins: noPlugins,
  };
  return { deps, id: sandbox.id, linux: () => sandboxes.get(sandbox.id).config.linux };
}

test("updateSandboxResources() records what is given and keeps the rest", async () => {
  const { deps, id, linux } = setUp();
  await updateSandboxResources(ctx, deps, id, {
    overhead: resources(1n << 20n),
    resources: resources(1n << 30n),
  });
  await updateSandboxResources(ctx, deps, id, {
    overhead: undefined,
    resources: resources(2n << 30n),
  });
  expect(linux()?.overhead?.memoryLimitInBytes).toBe(1n << 20n);
  expect(linux()?.resources?.memoryLimitInBytes).toBe(2n << 30n);
});

test("updateSandboxResources() refuses values that make no sense, and a sandbox that is not ready", async () => {
  const wrong = { overhead: undefined, resources: resources(-5n) };
  const { deps, id, linux } = setUp();
  const kind = (promise: Promise<void>) => promise.then(() => "done", kindOf);
  expect(await kind(updateSandboxResources(ctx, deps, id, wrong))).toBe("invalid-argument");
  expect(linux()).toBeUndefined();
  const stopped = setUp({ state: "not-ready" });
  const change = { overhead: undefined, resources: resources(5n) };
  expect(await kind(updateSandboxResources(ctx, stopped.deps, stopped.id, change))).toBe(
    "failed-precondition",
  );
  const gone = updateSandboxResources(ctx, deps, generateSandboxId(), change);
  expect(await kind(gone)).toBe("not-found");
});
