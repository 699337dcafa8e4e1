import type { Context } from "../lib/context.ts";
import { parseReference } from "../oci/reference.ts";
import { explainRegistry, type HostExplanation } from "../registry/hosts/explain.ts";
import { readRegistries } from "../registry/hosts/registries-yaml.ts";
import type { Config } from "./config/config.ts";

const timeoutMs = 10_000;

/**
 * What a daemon with this configuration would do for images of a registry (`host`, or `host/name`). A proxy that
 * only the daemon's environment names is not known here.
 */
export async function explainConfigured(
  ctx: Context,
  name: string,
  options: { readonly config: Pick<Config, "images" | "proxy">; readonly asks: boolean },
): Promise<readonly HostExplanation[]> {
  const { config, asks } = options;
  const { images, proxy } = config;
  const { registryConfigDirs: configDirs, registriesFiles, dockerConfigFiles } = images;
  const reference = parseReference(name.includes("/") ? name : `${name}/any`);
  const loadRegistries = () => Promise.resolve(readRegistries);
  const sources = { configDirs, registriesFiles, loadRegistries, dockerConfigFiles, proxy };
  return await explainRegistry(ctx, sources, reference, { asks, timeoutMs });
}
