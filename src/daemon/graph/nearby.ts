import type { ImageProvider } from "../../image/nearby/nearby.ts";
import { demoImage, openPackedImages } from "../../image/nearby/packed-images.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { platformOf } from "../../oci/platform.ts";
import type { Config } from "../config/config.ts";

/** Where images can be had from before their registries are asked. What cannot be opened is skipped and logged. */
export async function openNearby(
  ctx: Context,
  config: Pick<Config, "executable" | "payload">,
  resources: AsyncDisposableStack,
): Promise<readonly ImageProvider[]> {
  const platform = platformOf(process.arch);
  const demo = demoImage(`${config.payload}/demo.tar`, platform, resources);
  if (config.executable === "") return [demo];
  try {
    const packed = await openPackedImages(ctx, config.executable, platform);
    if (packed === undefined) return [demo];
    ctx.log.info("packed images found", { images: packed.names.join(" ") });
    return [resources.use(packed), demo];
  } catch (err) {
    ctx.log.error("packed images not read", { err: describe(err) });
    return [demo];
  }
}
