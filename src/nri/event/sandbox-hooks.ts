import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { SandboxPlugins } from "../../sandbox/plugins.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import type { NriDomain } from "../domain.ts";
import { compact } from "../message/compact.ts";
import { fromCriResources } from "../message/cri-resources.ts";
import { toPodMessage } from "../message/pod.ts";
import type { Plugins } from "../plugin/plugins.ts";
import { ask, tell } from "../plugin/relay.ts";

export type SandboxHooks = Pick<
  SandboxPlugins,
  "runSandbox" | "updateSandbox" | "postUpdateSandbox" | "stopSandbox" | "removeSandbox"
>;

/** The life of pods as events of plugins. */
export function sandboxHooks(domain: NriDomain, plugins: Plugins): SandboxHooks {
  const { method } = nri.Plugin;
  const pod = (sandbox: Sandbox) => toPodMessage(domain.stateDir, sandbox);
  return {
    async runSandbox(ctx, sandbox) {
      using agreement = new DisposableStack();
      agreement.use(plugins.agree());
      await ask(ctx, plugins, method.runPodSandbox, () => ({ pod: pod(sandbox) }));
      return agreement.move();
    },

    async updateSandbox(ctx, sandbox, { overhead, resources }) {
      await ask(ctx, plugins, method.updatePodSandbox, () =>
        compact({
          pod: pod(sandbox),
          overheadLinuxResources: overhead && fromCriResources(overhead),
          linuxResources: resources && fromCriResources(resources),
        }),
      );
    },

    async postUpdateSandbox(ctx, sandbox) {
      await tell(ctx, plugins, method.postUpdatePodSandbox, () => ({ pod: pod(sandbox) }));
    },

    async stopSandbox(ctx, sandbox) {
      await tell(ctx, plugins, method.stopPodSandbox, () => ({ pod: pod(sandbox) }));
    },

    async removeSandbox(ctx, sandbox) {
      const agreement = plugins.agree();
      await tell(ctx, plugins, method.removePodSandbox, () => ({ pod: pod(sandbox) }));
      return agreement;
    },
  };
}
