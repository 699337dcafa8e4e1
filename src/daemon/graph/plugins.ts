import { readdirSync } from "node:fs";
import { bundleOf, readConfig } from "../../bundle/bundle.ts";
import { type StopContainerDeps, stopContainer } from "../../container/stop.ts";
import { applyResources, type UpdateDeps } from "../../container/update.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import { Agreements } from "../../nri/agreements.ts";
import type { NriDomain } from "../../nri/domain.ts";
import type { Nri } from "../../nri/nri.ts";
import { listenForPlugins } from "../../nri/plugin/listen.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { ifThere } from "../../os/errno-error.ts";
import type { SocketStream } from "../../os/socket/socket-stream.ts";
import type { SandboxDeps } from "../../sandbox/deps.ts";
import { idlePlugins, noPlugins, type SandboxPlugins } from "../../sandbox/plugins.ts";
import { version } from "../../version.ts";
import type { Config } from "../config/config.ts";
import { claimSocketPath } from "../socket-file.ts";

/** What plugins are shown, and what they may do. */
type NriDeps = UpdateDeps & StopContainerDeps & Pick<SandboxDeps, "sandboxes" | "images">;

/** Returns the class; what it needs is loaded with it. */
export type LoadNri = () => Promise<typeof Nri>;

export interface PluginHost {
  /** Others when the first plugin has come. */
  readonly hooks: SandboxPlugins;
  /** From here on plugins may come, and those that are installed do. */
  readonly start: () => Promise<void>;
}

/** NRI plugins, where the configuration has them. All of it is loaded when there is something to do. */
export function openPlugins(
  ctx: Context,
  config: Config,
  resources: AsyncDisposableStack,
  options: { readonly loadNri: LoadNri; readonly deps: () => NriDeps },
): PluginHost {
  if (!config.nri.enable) return { hooks: noPlugins, start: async () => {} };
  const { socketPath, pluginPath, defaultValidator } = config.nri;
  const agreements = new Agreements();
  const domain = bindNri(options.deps);
  let hooks = idlePlugins(() => agreements.agree());
  let loading: Promise<Nri> | undefined;

  async function load(): Promise<Nri> {
    const NodePlugins = await options.loadNri();
    const nri = new NodePlugins(ctx, { config: config.nri, version, domain, agreements });
    resources.use(nri);
    hooks = nri.hooks;
    return nri;
  }
  function loaded(): Promise<Nri> {
    loading ??= load();
    return loading;
  }

  function accept(connection: SocketStream): void {
    loaded()
      .then((nri) => nri.accept(connection))
      .catch((err) => {
        connection[Symbol.dispose]();
        ctx.log.warn("NRI plugin connection refused", { err: describe(err) });
      });
  }

  return {
    get hooks() {
      return hooks;
    },
    async start() {
      if (defaultValidator.enable || (ifThere(() => readdirSync(pluginPath).length > 0) ?? false)) {
        await (await loaded()).startInstalled();
      }
      try {
        await claimSocketPath(socketPath);
        resources.use(listenForPlugins(socketPath, accept));
      } catch (err) {
        // Another runtime of this node has it. Pods do without plugins, as far as the validator allows.
        ctx.log.warn("NRI socket failed", { err: describe(err) });
      }
    },
  };
}

/** How long an evicted container may take to end by itself. */
const evictionGraceMs = 10_000;

function bindNri(deps: () => NriDeps): NriDomain {
  return {
    get stateDir() {
      return deps().stateDir;
    },
    listSandboxes: () => deps().sandboxes.list(),
    findSandbox: (id) => deps().sandboxes.find(id),
    listContainers: () => deps().containers.list(),
    findContainer: (id) => deps().containers.find(id as ContainerId),
    findImage: (id) => deps().images.find(id),
    // Written by this program, in a directory of its own.
    readSpec: (id) => readConfig(bundleOf(deps().stateDir, id)) as RuntimeSpec | undefined,
    applyResources: (ctx, id, change) => applyResources(ctx, deps(), id, change),
    stopContainer: (ctx, id) => stopContainer(ctx, deps(), id, evictionGraceMs),
  };
}
