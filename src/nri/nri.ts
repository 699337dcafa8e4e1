import type * as pb from "../gen/nri/v1alpha1/api_pb.ts";
import type { Context } from "../lib/context.ts";
import { describe, failedPrecondition } from "../lib/errors.ts";
import type { SocketStream } from "../os/socket/socket-stream.ts";
import type { SandboxPlugins } from "../sandbox/plugins.ts";
import type { Agreements } from "./agreements.ts";
import type { NriConfig } from "./config.ts";
import type { NriDomain } from "./domain.ts";
import { applyUpdates, tryUpdates } from "./event/apply-updates.ts";
import { containerHooks } from "./event/container-hooks.ts";
import { sandboxHooks } from "./event/sandbox-hooks.ts";
import { Updates } from "./event/updates.ts";
import { batches } from "./plugin/batches.ts";
import { type InstalledPlugin, launchPlugin, listInstalled } from "./plugin/installed.ts";
import type { Plugin } from "./plugin/plugin.ts";
import { Plugins } from "./plugin/plugins.ts";
import { type RegisterOptions, registerPlugin } from "./plugin/register.ts";

export interface NriOptions {
  readonly config: NriConfig;
  /** Of this program, for plugins. */
  readonly version: string;
  readonly domain: NriDomain;
  /** Those of the time before this was made count too. */
  readonly agreements: Agreements;
}

/** More than that on one node is a plugin that connects in a loop. */
const maxConnections = 64;

/**
 * Node Resource Interface 0.12 (github.com/containerd/nri): programs that are notified of pods and containers, and may
 * change containers. They connect to a socket, or are started from a directory. Disposing closes all connections and
 * ends what was started.
 */
export class Nri implements Disposable {
  readonly hooks: SandboxPlugins;
  readonly #ctx: Context;
  readonly #options: NriOptions;
  readonly #plugins: Plugins;
  readonly #resources = new DisposableStack();
  /** Open, whether the plugin has registered or not. */
  readonly #connections = new Set<SocketStream>();

  constructor(ctx: Context, options: NriOptions) {
    this.#ctx = ctx;
    this.#options = options;
    const { domain, config } = options;
    this.#plugins = new Plugins(options.agreements);
    this.hooks = {
      ...sandboxHooks(domain, this.#plugins),
      ...containerHooks(domain, this.#plugins, config.defaultValidator),
    };
  }

  /** Starts the plugins that are installed; returns when each of them is there or has failed. */
  async startInstalled(): Promise<void> {
    const installed = listInstalled(this.#ctx, this.#options.config);
    await Promise.all(installed.map((plugin) => this.#start(plugin)));
  }

  async #start(installed: InstalledPlugin): Promise<void> {
    const { identity, config, path } = installed;
    try {
      const launched = this.#resources.use(await launchPlugin(installed));
      launched.connection.gone.addEventListener("abort", () => launched[Symbol.dispose]());
      await this.#connect(launched.connection, { identity, config });
    } catch (err) {
      this.#ctx.log.warn("NRI plugin start failed", { path, err: describe(err) });
    }
  }

  /** Takes a connection that somebody has made. */
  accept(connection: SocketStream): void {
    this.#connect(connection, {}).catch((err) =>
      this.#ctx.log.warn("NRI plugin connection refused", { err: describe(err) }),
    );
  }

  async #connect(
    connection: SocketStream,
    started: Pick<RegisterOptions, "identity" | "config">,
  ): Promise<void> {
    using rollback = new DisposableStack();
    rollback.use(connection);
    if (this.#connections.size >= maxConnections) {
      throw failedPrecondition(`${maxConnections} plugins are connected`);
    }
    this.#connections.add(connection);
    connection.gone.addEventListener("abort", () => this.#connections.delete(connection));
    const { config, version } = this.#options;
    const plugin = await registerPlugin(this.#ctx, connection, {
      ...started,
      version,
      registrationTimeoutMs: config.registrationTimeoutMs,
      requestTimeoutMs: config.requestTimeoutMs,
      onUpdate: (ctx, from, request) => this.#update(ctx, from, request),
    });
    await this.#synchronize(plugin);
    rollback.move();
  }

  async #synchronize(plugin: Plugin): Promise<void> {
    const { domain, config } = this.#options;
    const ctx = this.#ctx;
    // Learning of everything is a part of registering, and has the time for that.
    const timeoutMs = Math.max(config.registrationTimeoutMs, config.requestTimeoutMs);
    const update = await this.#plugins.add(ctx, plugin, () =>
      plugin.synchronize(ctx, batches(domain), timeoutMs),
    );
    ctx.log.info("NRI plugin connected", { plugin: plugin.title });
    plugin.gone.addEventListener("abort", () =>
      ctx.log.info("NRI plugin disconnected", { plugin: plugin.title }),
    );
    const updates = new Updates();
    updates.add(plugin.title, { update });
    await applyUpdates(ctx, domain, updates);
  }

  async #update(
    ctx: Context,
    plugin: Plugin,
    request: pb.UpdateContainersRequest,
  ): Promise<readonly pb.ContainerUpdate[]> {
    const updates = new Updates();
    updates.add(plugin.title, request);
    return await tryUpdates(ctx, this.#options.domain, updates);
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
    for (const connection of this.#connections) connection[Symbol.dispose]();
  }
}
