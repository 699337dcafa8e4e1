import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, withTimeout } from "../../lib/context.ts";
import { describe, failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { Channel } from "../../ttrpc/channel.ts";
import { TtrpcClient } from "../../ttrpc/client.ts";
import { openMux } from "../../ttrpc/mux.ts";
import { serveTtrpc } from "../../ttrpc/server.ts";
import { allEvents } from "../events.ts";
import { Plugin, type PluginIdentity, type PluginSubscription } from "./plugin.ts";

/** Numbers of the two connections in one: the plugin serves on the first, the runtime on the second. */
const channelIds = [1, 2] as const;

/** Of the interface that is spoken here: proto/nri. */
const nriVersion = "v0.12.5";

export interface RegisterOptions {
  readonly version: string;
  readonly registrationTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Of a plugin that was started from here; one that connects says who it is. */
  readonly identity?: PluginIdentity;
  readonly config?: string;
  /** Changes that the plugin wants by itself. Returns those that failed. */
  readonly onUpdate: (
    ctx: Context,
    plugin: Plugin,
    request: nri.UpdateContainersRequest,
  ) => Promise<readonly nri.ContainerUpdate[]>;
}

/** Waits for a plugin to say who it is, and asks it what it wants. Closes the connection if that fails. */
export async function registerPlugin(
  ctx: Context,
  connection: Channel,
  options: RegisterOptions,
): Promise<Plugin> {
  const { registrationTimeoutMs, requestTimeoutMs } = options;
  using rollback = new DisposableStack();
  rollback.use(connection);
  const [pluginChannel, runtimeChannel] = openMux(connection, channelIds);
  const client = rollback.use(new TtrpcClient(pluginChannel));
  const registered = Promise.withResolvers<PluginIdentity>();
  let plugin: Plugin | undefined;

  const serving = serveTtrpc(ctx, runtimeChannel, nri.Runtime, {
    registerPlugin: async (_ctx, request) => {
      if (plugin !== undefined) throw failedPrecondition("the plugin has registered before");
      registered.resolve(options.identity ?? parseIdentity(request));
      return {};
    },
    updateContainers: async (call, request) => {
      if (plugin === undefined) throw failedPrecondition("the plugin has not registered");
      return { failed: [...(await options.onUpdate(call, plugin, request))] };
    },
  });
  serving.catch((err) => ctx.log.warn("NRI connection failed", { err: describe(err) }));

  const own = withTimeout(ctx, registrationTimeoutMs);
  const end = AbortSignal.any([own.signal, connection.gone]);
  const identity = await abortable(registered.promise, end);
  const response = await client.call(
    own,
    nri.Plugin.method.configure,
    {
      config: options.config ?? "",
      runtimeName: "crib",
      runtimeVersion: options.version,
      registrationTimeout: BigInt(registrationTimeoutMs),
      requestTimeout: BigInt(requestTimeoutMs),
      NRIVersion: nriVersion,
    },
    { timeoutMs: requestTimeoutMs },
  );
  plugin = new Plugin(client, identity, parseSubscription(response), requestTimeoutMs);
  rollback.move();
  return plugin;
}

/** `10-logger`: the name of a file, or two fields of a registration. */
export function parsePluginName(text: string): PluginIdentity {
  const match = /^([0-9]{2})-([A-Za-z0-9_.+-]{1,128})$/.exec(text);
  if (match === null) {
    throw invalidArgument(`NRI plugin ${JSON.stringify(text.slice(0, 100))}: not NN-name`);
  }
  return { index: match[1] ?? "", name: match[2] ?? "" };
}

function parseIdentity({ pluginIdx, pluginName }: nri.RegisterPluginRequest): PluginIdentity {
  return parsePluginName(`${pluginIdx}-${pluginName}`);
}

function parseSubscription({ events, failurePolicy }: nri.ConfigureResponse): PluginSubscription {
  if ((events & ~allEvents) !== 0) {
    throw invalidArgument(`NRI plugin: unknown events in 0x${(events >>> 0).toString(16)}`);
  }
  return {
    events: events === 0 ? allEvents : events,
    failRequest: failurePolicy?.failRequest === true,
    keepConnected: failurePolicy?.keepConnected === true,
  };
}
