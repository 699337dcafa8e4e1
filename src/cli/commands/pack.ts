import { implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { pullImage } from "../image/pull-image.ts";
import { packImages } from "../image-archive/pack.ts";
import { formatSize } from "../output/format.ts";
import { plain } from "../output/output.ts";

export const pack = implementCommand("pack", async (env, options) => {
  if (options.image.length === 0) throw new UsageError("--image is missing");
  if (options.output === undefined) throw new UsageError("-o FILE is missing");
  using cri = env.connect();
  for (const image of options.image) {
    const found = await cri.images.imageStatus({ image: { image } }, { signal: env.ctx.signal });
    if (found.image !== undefined) continue;
    await pullImage(env, cri, image, { credentials: undefined, quiet: false });
  }
  const sizeBytes = await packImages(env, cri, options.image, {
    file: options.output,
    compressLayers: !options["plain-layers"],
  });
  env.out.write(`${plain(options.output)} ${formatSize(sizeBytes)}\n`);
  return exitCodes.ok;
});
