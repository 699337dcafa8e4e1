import type * as pb from "../../gen/crib/admin/v1/admin_pb.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { formatSize, shortId } from "../output/format.ts";
import { type Output, plain } from "../output/output.ts";

/** Every image with its names, and below it its layers, lowest first, with what each takes. */
export async function writeImageTree(
  env: CommandEnv,
  cri: CriClient,
  image: string,
): Promise<void> {
  const { images } = await cri.admin.listImageLayers({ image }, { signal: env.ctx.signal });
  const sorted = images.toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)));
  for (const one of sorted) writeImage(env.out, one);
}

function writeImage(out: Output, image: pb.ImageLayers): void {
  const size = image.layers.reduce((sum, { usedBytes }) => sum + usedBytes, 0n);
  const [first = "<none>", ...others] = image.repoTags.map(plain);
  const pinned = image.pinned ? "  pinned" : "";
  out.write(`${out.paint("bold", first)}  ${shortId(image.id)}  ${formatSize(size)}${pinned}\n`);
  for (const name of others) out.write(`${out.paint("bold", name)}\n`);
  for (const [i, layer] of image.layers.entries()) {
    const branch = i === image.layers.length - 1 ? "└─" : "├─";
    const shared = layer.images > 1 ? `  in ${layer.images} images` : "";
    const files = `${layer.inodes} files`;
    out.write(
      `${branch} ${shortId(layer.diffId)}  ${formatSize(layer.usedBytes)}  ${files}${shared}\n`,
    );
  }
}

function nameOf({ repoTags, id }: pb.ImageLayers): string {
  return repoTags[0] ?? id;
}
