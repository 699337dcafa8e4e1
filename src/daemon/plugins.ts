import { bundleOf, readConfig } from "../bundle/bundle.ts";
import { stopContainer } from "../container/stop.ts";
import { applyResources } from "../container/update.ts";
import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { NriDomain } from "../nri/domain.ts";
import { Nri } from "../nri/nri.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { SandboxDeps } from "../sandbox/deps.ts";
import { noPlugins, type SandboxPlugins } from "../sandbox/plugins.ts";
import { version } from "../version.ts";
import type { Config } from "./config.ts";
import { claimSocketPath } from "./socket-file.ts";

export interface PluginHost {
  readonly hooks: SandboxPlugins;
  /** From here on plugins may come, and those that are installed do. */
  readonly start: () => Promise<void>;
}

/** NRI plugins, where the configuration has them. `deps` are asked for when plugins want something of the domain. */
export function openPlugins(
  ctx: Context,
  config: Config,
  resources: AsyncDisposableStack,
  deps: () => SandboxDeps,
): PluginHost {
  const { enable, socketPath } = config.nri;
  if (!enable) return { hooks: noPlugins, start: async () => {} };
  const domain = bindNri(deps);
  const nri = resources.use(new Nri(ctx, { config: config.nri, version, domain }));
  return {
    hooks: nri.hooks,
    async start() {
      try {
        await claimSocketPath(socketPath);
        nri.listen(socketPath);
      } catch (err) {
        // Another runtime of this node has it. Pods do without plugins, as far as the validator allows.
        ctx.log.warn("no NRI plugin can connect", { err: describe(err) });
      }
      await nri.startInstalled();
    },
  };
}

/** How long an evicted container may take to end by itself. */
const evictionGraceMs = 10_000;

function bindNri(deps: () => SandboxDeps): NriDomain {
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
