import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { channelPair } from "../../../test/harness/channel-pair.ts";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import { describe, failedPrecondition, kindOf } from "../../lib/errors.ts";
import { silentLog } from "../../lib/log.ts";
import { TtrpcClient } from "../../ttrpc/client.ts";
import { openMux } from "../../ttrpc/mux.ts";
import { serveTtrpc, type TtrpcService } from "../../ttrpc/server.ts";
import { Updates } from "../event/updates.ts";
import { allEvents } from "../events.ts";
import { Owners } from "../owners.ts";
import { validateAdjustment } from "../validator.ts";
import type { PluginIdentity, PluginSubscription } from "./plugin.ts";
import { Plugin } from "./plugin.ts";
import { Plugins } from "./plugins.ts";
import { parsePluginName, type RegisterOptions, registerPlugin } from "./register.ts";
import { ask } from "./relay.ts";

const ctx: Context = { signal: new AbortController().signal, log: silentLog };
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (err) => err,
  );
const { method } = nri.Plugin;

function connect(
  identity: PluginIdentity,
  methods: TtrpcService<typeof nri.Plugin>,
  subscription: Partial<PluginSubscription> = {},
): Plugin {
  const [near, far] = channelPair();
  void serveTtrpc(ctx, far, nri.Plugin, methods);
  const all = { events: allEvents, failRequest: false, keepConnected: false, ...subscription };
  return new Plugin(new TtrpcClient(near), identity, all, 50);
}

const never = () => new Promise<never>(() => {});

test("plugins are asked one after the other in the order of their index", async () => {
  const asked: string[] = [];
  const plugins = new Plugins();
  for (const index of ["20", "05", "10"]) {
    const plugin = connect(
      { index, name: "p" },
      {
        runPodSandbox: async () => {
          asked.push(index);
          return {};
        },
      },
    );
    await plugins.add(ctx, plugin, async () => {});
  }
  await ask(ctx, plugins, method.runPodSandbox, () => ({}));
  expect(asked).toEqual(["05", "10", "20"]);
});

test("a plugin's word against a request ends it; the rest is not asked", async () => {
  const plugins = new Plugins();
  let later = 0;
  const refuses = { runPodSandbox: () => Promise.reject(failedPrecondition("no")) };
  const counts = {
    runPodSandbox: async () => {
      later += 1;
      return {};
    },
  };
  await plugins.add(ctx, connect({ index: "01", name: "no" }, refuses), async () => {});
  await plugins.add(ctx, connect({ index: "02", name: "next" }, counts), async () => {});
  const err = await failureOf(ask(ctx, plugins, method.runPodSandbox, () => ({})));
  expect(describe(err)).toBe("NRI plugin 01-no: RunPodSandbox: no");
  expect([kindOf(err), later]).toEqual(["failed-precondition", 0]);
});

test("a plugin that does not respond is disconnected and passed over, unless it asked otherwise", async () => {
  const silent = { runPodSandbox: never };
  const identity = { index: "01", name: "silent" };
  const dropped = connect(identity, silent);
  expect(await dropped.ask(ctx, method.runPodSandbox, {})).toBeUndefined();
  expect(dropped.gone.aborted).toBe(true);
  expect(dropped.wants("runPodSandbox")).toBe(false);

  const kept = connect(identity, silent, { keepConnected: true });
  expect(await kept.ask(ctx, method.runPodSandbox, {})).toBeUndefined();
  expect(kept.gone.aborted).toBe(false);

  const strict = connect(identity, silent, { failRequest: true });
  const err = await failureOf(strict.ask(ctx, method.runPodSandbox, {}));
  expect(kindOf(err)).toBe("unavailable");
});

test("an older plugin is notified by StateChange", async () => {
  const told: number[] = [];
  const old = connect(
    { index: "01", name: "old" },
    {
      stateChange: async (_ctx, { event, pod }) => {
        told.push(event, pod?.id === "p" ? 1 : 0);
        return {};
      },
    },
  );
  for (let i = 0; i < 2; i++) await old.ask(ctx, method.runPodSandbox, { pod: { id: "p" } });
  expect(told).toEqual([nri.Event.RUN_POD_SANDBOX, 1, nri.Event.RUN_POD_SANDBOX, 1]);
  const unknown = await failureOf(old.ask(ctx, method.createContainer, {}));
  expect(kindOf(unknown)).toBe("unimplemented");
});

test("a new plugin waits until everything agreed to is recorded, and events wait for it", async () => {
  const plugins = new Plugins();
  const order: string[] = [];
  const plugin = connect(
    { index: "01", name: "p" },
    {
      runPodSandbox: async () => {
        order.push("event");
        return {};
      },
    },
  );
  expect(plugins.isIdle).toBe(true);
  const agreement = plugins.agree();
  const added = plugins.add(ctx, plugin, async () => {
    order.push("begin");
    await Bun.sleep(5);
    order.push("end");
  });
  await Bun.sleep(5);
  order.push("recorded");
  agreement[Symbol.dispose]();
  agreement[Symbol.dispose]();
  await Bun.sleep(1);
  await ask(ctx, plugins, method.runPodSandbox, () => ({}));
  await added;
  expect(order).toEqual(["recorded", "begin", "end", "event"]);
  plugin[Symbol.dispose]();
  expect(plugins.isIdle).toBe(true);
});

function register(
  behaviour: { readonly index?: string; readonly events?: number },
  options: Partial<RegisterOptions> = {},
) {
  const [near, far] = channelPair();
  const [own, runtime] = openMux(far, [1, 2]);
  void serveTtrpc(ctx, own, nri.Plugin, {
    configure: async () => ({ events: behaviour.events ?? 0 }),
  }).catch(() => {});
  const client = new TtrpcClient(runtime);
  const registered = registerPlugin(ctx, near, {
    version: "1",
    registrationTimeoutMs: 50,
    requestTimeoutMs: 50,
    onUpdate: async () => [],
    ...options,
  });
  const request = { pluginName: "x", pluginIdx: behaviour.index ?? "10" };
  const call = () =>
    client.call(ctx, nri.Runtime.method.registerPlugin, request, { timeoutMs: 50 });
  return { near, registered, call };
}

test("registerPlugin() takes who says what it is and wants", async () => {
  const { registered, call } = register({ events: 1 });
  await call();
  const plugin = await registered;
  expect(plugin.title).toBe("10-x");
  expect([plugin.wants("runPodSandbox"), plugin.wants("stopPodSandbox")]).toEqual([true, false]);
  expect(kindOf(await failureOf(call()))).toBe("failed-precondition");
});

test("registerPlugin() closes the connection of others", async () => {
  for (const behaviour of [{ index: "1" }, { index: "xx" }, { events: 1 << 20 }]) {
    const { near, registered, call } = register(behaviour);
    const failed = failureOf(registered);
    await failureOf(call());
    expect(await failed).toBeInstanceOf(Error);
    expect(near.gone.aborted).toBe(true);
  }
  const { near, registered } = register({});
  expect(kindOf(await failureOf(registered))).toBe("deadline-exceeded");
  expect(near.gone.aborted).toBe(true);
});

test("parsePluginName() wants two digits and a plain name", () => {
  expect(parsePluginName("07-a.b_c+d-e")).toEqual({ index: "07", name: "a.b_c+d-e" });
  for (const text of ["7-a", "07", "07-", "07-a/b", `07-${"x".repeat(200)}`]) {
    expect(() => parsePluginName(text)).toThrow();
  }
});

test("Updates keeps one wish a container, and refuses different ones", () => {
  const update = (containerId: string, cpus: string, ignoreFailure = false) =>
    create(nri.ContainerUpdateSchema, {
      containerId,
      linux: { resources: { cpu: { cpus } } },
      ignoreFailure,
    });
  const updates = new Updates("new");
  updates.add("a", { update: [update("x", "0", true), update("y", "1")] });
  expect(() => updates.add("b", { update: [update("x", "1")] })).toThrow("both set CPUSetCPUs");
  updates.add("b", { update: [update("y", "2", true)] });
  expect(() => updates.add("b", { update: [update("new", "1")] })).toThrow("being created");
  const wanted = updates.wanted.map(({ containerId, resources, ignoreFailure }) => [
    containerId,
    resources.cpu?.cpus,
    ignoreFailure,
  ]);
  expect(wanted).toEqual([
    ["x", "0", true],
    ["y", "1", false],
  ]);
});

test("validateAdjustment() refuses what the administrator does not want", () => {
  const off = {
    enable: true,
    rejectOciHookAdjustment: false,
    rejectRuntimeDefaultSeccompAdjustment: false,
    rejectUnconfinedSeccompAdjustment: false,
    rejectCustomSeccompAdjustment: false,
    rejectNamespaceAdjustment: false,
    rejectSysctlAdjustment: false,
    requiredPlugins: [],
    tolerateMissingPluginsAnnotation: "tolerate",
  };
  const owners = new Owners();
  owners.claim({ field: nri.Field.SeccompPolicy }, "10-a");
  owners.claim({ field: nri.Field.Sysctl, key: "k" }, "10-a");
  const adjusted = {
    container: "c",
    podAnnotations: {},
    seccomp: undefined,
    owners,
    plugins: new Set(["a"]),
  };
  const check = (config: Partial<typeof off>, subject: object = {}) => {
    try {
      validateAdjustment({ ...off, ...config } as never, { ...adjusted, ...subject });
      return "agreed";
    } catch (err) {
      return describe(err);
    }
  };
  expect(check({})).toBe("agreed");
  expect(check({ rejectSysctlAdjustment: true })).toContain("10-a may not adjust sysctls");
  expect(check({ rejectSysctlAdjustment: true, enable: false })).toBe("agreed");
  expect(check({ rejectUnconfinedSeccompAdjustment: true })).toContain("the seccomp policy");
  expect(check({ rejectCustomSeccompAdjustment: true })).toBe("agreed");
  const needsB = { requiredPlugins: ["a", "b"] as never[] };
  expect(check(needsB)).toContain("required NRI plugin b is not connected");
  expect(check(needsB, { podAnnotations: { tolerate: "true" } })).toBe("agreed");
  const annotation = "required-plugins.noderesource.dev";
  const named = { [`${annotation}/container.c`]: "[b]", [annotation]: "[a]" };
  expect(check({}, { podAnnotations: named })).toContain("required NRI plugin b");
  expect(check({}, { podAnnotations: { [annotation]: "{" } })).toContain("not a list of names");
});
