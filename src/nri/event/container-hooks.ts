import type { Container } from "../../container/container.ts";
import type { Adjustment, ContainerPlugins, Creation } from "../../container/plugins.ts";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { type Context, detached } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { ValidatorConfig } from "../config.ts";
import type { NriDomain } from "../domain.ts";
import type { ContainerView } from "../message/container.ts";
import { toPodMessage } from "../message/pod.ts";
import type { Plugins } from "../plugin/plugins.ts";
import { ask, tell } from "../plugin/relay.ts";
import { about, viewOf } from "../views.ts";
import { applyUpdates } from "./apply-updates.ts";
import { askForAdjustment } from "./create-container.ts";
import { askForUpdate } from "./update-container.ts";
import { Updates } from "./updates.ts";

const { method } = nri.Plugin;
const nothing: Adjustment = { requests: { devices: [] }, apply: (spec) => spec, resources: {} };
/** Each plugin has a time limit of its own; this is for waiting in line. */
const tellMs = 60_000;

/** The life of containers as events of plugins. */
export function containerHooks(
  domain: NriDomain,
  plugins: Plugins,
  validator: ValidatorConfig,
): ContainerPlugins {
  const of = (container: Container) => () => about(domain, viewOf(domain, container));

  async function adjust(ctx: Context, creation: Creation): Promise<Adjustment> {
    if (plugins.isIdle && !validator.enable) return nothing;
    const sandbox = domain.findSandbox(creation.sandboxId);
    if (sandbox === undefined) return nothing;
    const pod = toPodMessage(domain.stateDir, sandbox);
    const { adjustment, updates } = await plugins.inTurn(ctx, (connected) =>
      askForAdjustment(ctx, connected, { creation, sandbox, pod, validator }),
    );
    await applyUpdates(ctx, domain, updates);
    return adjustment;
  }

  /** Takes its place in line before it returns, and never rejects. */
  async function tellStopped(ctx: Context, view: () => ContainerView): Promise<void> {
    if (plugins.isIdle) return;
    try {
      const updates = await plugins.inTurn(ctx, async (connected) => {
        const wanted = new Updates();
        const message = about(domain, view());
        for (const plugin of connected) {
          if (!plugin.wants("stopContainer")) continue;
          const response = await plugin.ask(ctx, method.stopContainer, message);
          if (response !== undefined) wanted.add(plugin.title, response);
        }
        return wanted;
      });
      await applyUpdates(ctx, domain, updates);
    } catch (err) {
      ctx.log.warn("NRI notification failed", { event: "StopContainer", err: describe(err) });
    }
  }

  return {
    async createContainer(ctx, creation) {
      using agreement = new DisposableStack();
      agreement.use(plugins.agree());
      const adjustment = await adjust(ctx, creation);
      const held = agreement.move();
      return { ...adjustment, [Symbol.dispose]: () => held.dispose() };
    },

    async rollBackCreateContainer(ctx, creation) {
      await tellStopped(ctx, () => creation);
      await tell(ctx, plugins, method.removeContainer, () => about(domain, creation));
    },

    async postCreateContainer(ctx, container) {
      await tell(ctx, plugins, method.postCreateContainer, of(container));
    },

    async startContainer(ctx, container) {
      await ask(ctx, plugins, method.startContainer, of(container));
    },

    async postStartContainer(ctx, container) {
      await tell(ctx, plugins, method.postStartContainer, of(container));
    },

    async updateContainer(ctx, container, asked) {
      if (plugins.isIdle) return {};
      const { own, updates } = await plugins.inTurn(ctx, (connected) =>
        askForUpdate(ctx, connected, about(domain, viewOf(domain, container)), asked),
      );
      await applyUpdates(ctx, domain, updates);
      return own;
    },

    async postUpdateContainer(ctx, container) {
      await tell(ctx, plugins, method.postUpdateContainer, of(container));
    },

    stopContainer(ctx, container) {
      void tellStopped(detached(ctx, tellMs), () => viewOf(domain, container));
    },

    async removeContainer(ctx, container) {
      const agreement = plugins.agree();
      await tell(ctx, plugins, method.removeContainer, of(container));
      return agreement;
    },
  };
}
