import { create } from "@bufbuild/protobuf";
import { overlayResources } from "../../container/spec/overlay-resources.ts";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import type { SpecResources } from "../../oci/runtime-spec.ts";
import { toNriResources, toSpecUpdate } from "../message/resources.ts";
import type { Plugin } from "../plugin/plugin.ts";
import type { AboutContainer } from "../views.ts";
import { Updates } from "./updates.ts";

export interface UpdateResponse {
  /** What plugins want of the container that is updated, beyond what was asked. */
  readonly own: SpecResources;
  /** And of others. */
  readonly updates: Updates;
}

/** Asks one plugin after the other about new limits of a container; each sees what those before it changed. */
export async function askForUpdate(
  ctx: Context,
  plugins: readonly Plugin[],
  about: AboutContainer,
  asked: SpecResources,
): Promise<UpdateResponse> {
  const id = about.container.id ?? "";
  const updates = new Updates();
  const own = () => toSpecUpdate(updates.of(id) ?? create(nri.LinuxResourcesSchema));
  for (const plugin of plugins) {
    if (!plugin.wants("updateContainer")) continue;
    const linuxResources = toNriResources(overlayResources(asked, own()));
    const message = { ...about, linuxResources };
    const response = await plugin.ask(ctx, nri.Plugin.method.updateContainer, message);
    if (response !== undefined) updates.add(plugin.title, response);
  }
  const wanted = own();
  updates.take(id);
  return { own: wanted, updates };
}
