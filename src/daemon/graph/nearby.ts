import type { ImageProvider } from "../../image/nearby/nearby.ts";
import { openPackedImages } from "../../image/nearby/packed-images.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { platformOf } from "../../oci/platform.ts";
import type { Config } from "../config/config.ts";

/** Where images can be had from before their registries are asked. What cannot be opened is left out and logged. */
export async function openNearby(
  ctx: Context,
  config: Pick<Config, "executable">,
  resources: AsyncDisposableStack,
): Promise<readonly ImageProvider[]> {
  if (config.executable === "") return [];
  try {
    const packed = await openPackedImages(ctx, config.executable, platformOf(process.arch));
    if (packed === undefined) return [];
    ctx.log.info("packed images found", { images: packed.names.join(" ") });
    return [resources.use(packed)];
  } catch (err) {
    ctx.log.error("packed images not read", { err: describe(err) });
    return [];
  }
}
