import { defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { pullImage } from "../image/pull-image.ts";
import { packImages } from "../image-archive/pack.ts";
import { formatSize } from "../output/format.ts";
import { plain } from "../output/output.ts";

export const pack = defineCommand({
  name: "pack",
  group: "images",
  summary: "write an executable that is crib plus images",
  usage: "--image IMAGE... -o FILE",
  details: [
    "Whoever runs FILE needs no registry for these images: `crib serve` answers their pulls from the file.",
    "Images that are not here are pulled first. FILE may be packed from a packed crib: its images are replaced.",
  ].join(" "),
  examples: ["crib pack --image registry.local/app:1 --image registry.local/db:7 -o crib-site"],
  options: {
    image: { kind: "list", argument: "IMAGE", help: "an image to pack; may be repeated" },
    output: { kind: "value", short: "o", argument: "FILE", help: "the executable to write" },
    "plain-layers": { kind: "flag", help: "do not compress: a larger file, a quicker start" },
  },
  positionals: { min: 0, max: 0 },
  async run(env, options) {
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
  },
});
